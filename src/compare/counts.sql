-- Which discrepancies of a job are open now or were closed by this business day, and what ever happened to each?
-- Parameters: :job, :day
-- Columns: discrepancy_id, currency, kind, state, difference_minor, what happened, whether it is this day's doing, event_id
-- One discrepancy after the other, each with what happened to it in that order: the loops stand as they are written.
WITH concerned AS (
  -- What is open now,
  SELECT discrepancy_id, currency, kind, state, difference_minor
    FROM discrepancies
   WHERE job = :job AND state IN ('open', 'acknowledged')
  UNION ALL
  -- and what the day closed.
  SELECT d.discrepancy_id, d.currency, d.kind, d.state, d.difference_minor
    FROM (SELECT DISTINCT discrepancy_id FROM discrepancy_events INDEXED BY discrepancy_events_by_day
           WHERE business_day = :day AND event = 'resolved') AS e
   CROSS JOIN discrepancies AS d ON d.discrepancy_id = e.discrepancy_id AND d.job = :job AND d.state = 'resolved'
)
SELECT c.discrepancy_id, coalesce(c.currency, ''), c.kind, c.state, c.difference_minor, e.event, e.business_day = :day, e.event_id
  FROM concerned AS c
  LEFT JOIN discrepancy_events AS e INDEXED BY discrepancy_events_by_id
         ON e.discrepancy_id = c.discrepancy_id AND e.event IN ('opened', 'reopened', 'resolved')
