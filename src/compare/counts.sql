-- How many discrepancies of a job are open, and what this business day did to them, per currency and kind?
-- Parameters: :job, :day
-- Columns: currency, kind, open, sum of differences of the open ones in two halves (`>> 32` and the lower 32 bits: a sum of whole
-- amounts may need more than 64), previous_open, new, reopened, resolved, unacknowledged
-- The day's doings are the events since the last one of another day; a run of the same night again finds the same ones.
WITH today AS (
  -- `first_event` stands in the row that min() finds. Read from two indexes alone.
  SELECT e.discrepancy_id, e.event AS first_event, min(e.event_id) AS first_id, sum(e.event = 'opened') AS opened,
         sum(e.event = 'reopened') AS reopened, sum(e.event = 'resolved') AS resolved
    FROM discrepancy_events AS e INDEXED BY discrepancy_events_by_day
   WHERE e.business_day = :day AND e.event IN ('opened', 'reopened', 'resolved')
     AND e.event_id > coalesce((SELECT max(x.event_id) FROM discrepancy_events AS x INDEXED BY discrepancy_events_by_id
                                 WHERE x.discrepancy_id = e.discrepancy_id AND x.business_day <> :day
                                   AND x.event IN ('opened', 'reopened', 'resolved')), 0)
   GROUP BY e.discrepancy_id
), doings AS (
  SELECT d.currency, d.kind, d.state, t.first_event, t.opened, t.reopened, t.resolved
    FROM today AS t CROSS JOIN discrepancies AS d ON d.discrepancy_id = t.discrepancy_id AND d.job = :job
), parts AS (
  -- What is open now, as if it had been open before,
  SELECT coalesce(d.currency, '') AS currency, d.kind, 1 AS open, coalesce(d.difference_minor, 0) AS difference_minor,
         1 AS previous_open, 0 AS opened, 0 AS reopened, 0 AS resolved, d.state = 'open' AS unacknowledged
    FROM discrepancies AS d
   WHERE d.job = :job AND d.state IN ('open', 'acknowledged')
  UNION ALL
  -- and what the day's first event says about that.
  SELECT coalesce(t.currency, ''), t.kind, 0, 0, (t.first_event = 'resolved') - (t.state <> 'resolved'),
         t.opened, t.reopened, t.resolved, 0
    FROM doings AS t
)
SELECT currency, kind, sum(open) AS open, sum(difference_minor >> 32) AS difference_high,
       sum(difference_minor & 4294967295) AS difference_low, sum(previous_open) AS previous_open,
       sum(opened) AS new, sum(reopened) AS reopened, sum(resolved) AS resolved, sum(unacknowledged) AS unacknowledged
  FROM parts
 GROUP BY 1, 2
 ORDER BY 1, 2
