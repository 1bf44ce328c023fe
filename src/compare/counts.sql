-- How many discrepancies of a job are open, and what this business day did to them, per currency and kind?
-- Parameters: :job, :day
-- Columns: currency, kind, open, sum of differences of the open ones in two halves (`>> 32` and the lower 32 bits: a sum of whole
-- amounts may need more than 64), previous_open, new, reopened, resolved, unacknowledged
-- The day's doings are the events since the last one of another day; a run of the same night again finds the same ones.
WITH concerned AS (
  -- What is open now,
  SELECT discrepancy_id, currency, kind, state
    FROM discrepancies
   WHERE job = :job AND state IN ('open', 'acknowledged')
  UNION ALL
  -- and what the day closed.
  SELECT d.discrepancy_id, d.currency, d.kind, d.state
    FROM (SELECT DISTINCT discrepancy_id FROM discrepancy_events INDEXED BY discrepancy_events_by_day
           WHERE business_day = :day AND event = 'resolved') AS e
   CROSS JOIN discrepancies AS d ON d.discrepancy_id = e.discrepancy_id AND d.job = :job AND d.state = 'resolved'
), doings AS (
  SELECT c.currency, c.kind, c.state, e.event,
         -- The one before it is of another day.
         coalesce((SELECT x.business_day FROM discrepancy_events AS x INDEXED BY discrepancy_events_by_id
                    WHERE x.discrepancy_id = e.discrepancy_id AND x.event_id < e.event_id
                      AND x.event IN ('opened', 'reopened', 'resolved')
                    ORDER BY x.event_id DESC LIMIT 1), '') <> :day AS is_first
    FROM concerned AS c
   CROSS JOIN discrepancy_events AS e INDEXED BY discrepancy_events_by_id ON e.discrepancy_id = c.discrepancy_id
   WHERE e.business_day = :day AND e.event IN ('opened', 'reopened', 'resolved')
     AND NOT EXISTS (SELECT 1 FROM discrepancy_events AS x INDEXED BY discrepancy_events_by_id
                      WHERE x.discrepancy_id = e.discrepancy_id AND x.event_id > e.event_id AND x.business_day <> :day
                        AND x.event IN ('opened', 'reopened', 'resolved'))
), parts AS (
  -- What is open now, as if it had been open before,
  SELECT coalesce(currency, '') AS currency, kind, count(*) AS open, sum(coalesce(difference_minor, 0) >> 32) AS difference_high,
         sum(coalesce(difference_minor, 0) & 4294967295) AS difference_low, count(*) AS previous_open, 0 AS opened, 0 AS reopened,
         0 AS resolved, sum(state = 'open') AS unacknowledged
    FROM discrepancies
   WHERE job = :job AND state IN ('open', 'acknowledged')
   GROUP BY 1, 2
  UNION ALL
  -- and what the day's first event says about that.
  SELECT coalesce(currency, ''), kind, 0, 0, 0, sum(is_first * ((event = 'resolved') - (state <> 'resolved'))),
         sum(event = 'opened'), sum(event = 'reopened'), sum(event = 'resolved'), 0
    FROM doings
   GROUP BY 1, 2
)
SELECT currency, kind, sum(open) AS open, sum(difference_high) AS difference_high, sum(difference_low) AS difference_low,
       sum(previous_open) AS previous_open, sum(opened) AS new, sum(reopened) AS reopened, sum(resolved) AS resolved,
       sum(unacknowledged) AS unacknowledged
  FROM parts
 GROUP BY 1, 2
 ORDER BY 1, 2
