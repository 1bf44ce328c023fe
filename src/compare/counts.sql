-- How many discrepancies of a job are open, and what this business day did to them, per currency and kind?
-- Parameters: :job, :day
-- Columns: currency, kind, open, sum of differences of the open ones, previous_open, new, reopened, resolved
-- The day's doings are the events since the last one of another day; a run of the same night again finds the same ones.
WITH doings AS (
  SELECT e.discrepancy_id, sum(e.event = 'opened') AS opened, sum(e.event = 'reopened') AS reopened,
         sum(e.event = 'resolved') AS resolved, min(e.event_id) AS first_id
    FROM discrepancy_events AS e INDEXED BY discrepancy_events_by_day
    JOIN discrepancies AS d ON d.discrepancy_id = e.discrepancy_id AND d.job = :job
   WHERE e.business_day = :day AND e.event IN ('opened', 'reopened', 'resolved')
     AND e.event_id > coalesce((SELECT max(x.event_id) FROM discrepancy_events AS x
                                 WHERE x.discrepancy_id = e.discrepancy_id AND x.business_day <> :day
                                   AND x.event IN ('opened', 'reopened', 'resolved')), 0)
   GROUP BY e.discrepancy_id
), ids AS (
  SELECT discrepancy_id FROM discrepancies WHERE job = :job AND state IN ('open', 'acknowledged')
  UNION SELECT discrepancy_id FROM doings
)
SELECT coalesce(d.currency, '') AS currency, d.kind,
       sum(d.state <> 'resolved') AS open,
       sum(iif(d.state <> 'resolved', coalesce(d.difference_minor, 0), 0)) AS difference_minor,
       sum(CASE WHEN t.discrepancy_id IS NULL THEN d.state <> 'resolved'
                ELSE (SELECT f.event = 'resolved' FROM discrepancy_events AS f WHERE f.event_id = t.first_id) END) AS previous_open,
       sum(coalesce(t.opened, 0)) AS new,
       sum(coalesce(t.reopened, 0)) AS reopened,
       sum(coalesce(t.resolved, 0)) AS resolved,
       sum(d.state = 'open') AS unacknowledged
  FROM ids
  JOIN discrepancies AS d ON d.discrepancy_id = ids.discrepancy_id
  LEFT JOIN doings AS t ON t.discrepancy_id = ids.discrepancy_id
 GROUP BY 1, 2
 ORDER BY 1, 2
