-- Which discrepancies about a business day were known after a night, by the events up to it?
-- Parameters: :job, :business_day, :run_id (the night)
-- Kind and state are those of then. Amounts are kept as they are now: they stand here only when nothing changed since.
WITH
  night AS (SELECT business_day AS day FROM runs WHERE run_id = :run_id),
  events AS (
    SELECT e.discrepancy_id, max(e.event_id) AS last_id,
           max(iif(e.to_kind IS NOT NULL, e.event_id, NULL)) AS kind_id,
           max(iif(e.event IN ('assigned', 'decision_expired', 'late_change'), NULL, e.event_id)) AS state_id
      FROM discrepancy_events AS e
      JOIN discrepancies AS d ON d.discrepancy_id = e.discrepancy_id AND d.job = :job
     WHERE e.business_day <= (SELECT day FROM night)
       AND coalesce(d.closed_day, d.business_day) = :business_day
     GROUP BY e.discrepancy_id
  ),
  then_known AS (
    SELECT d.*, k.to_kind AS kind_then,
           CASE s.event WHEN 'resolved' THEN 'resolved' WHEN 'acknowledged' THEN 'acknowledged' ELSE 'open' END AS state_then,
           NOT EXISTS (SELECT 1 FROM discrepancy_events AS c
                        WHERE c.discrepancy_id = d.discrepancy_id AND c.event_id > e.last_id
                          AND c.event IN ('changed', 'reopened')) AS same
      FROM events AS e
      JOIN discrepancies AS d ON d.discrepancy_id = e.discrepancy_id
      LEFT JOIN discrepancy_events AS k ON k.event_id = e.kind_id
      LEFT JOIN discrepancy_events AS s ON s.event_id = e.state_id
  )
SELECT discrepancy_id,
       state_then AS state,
       kind_then AS kind,
       job,
       provider,
       account,
       :business_day AS business_day,
       direction,
       iif(same, currency, NULL) AS currency,
       iif(same, ledger_amount, NULL) AS ledger_amount,
       iif(same, provider_amount, NULL) AS provider_amount,
       iif(same, difference, NULL) AS difference,
       reference,
       provider_id,
       ledger_id,
       first_seen_day AS first_seen,
       iif(same, what_differs, 'changed since; the values of then were not kept') AS what_differs
  FROM then_known
 ORDER BY kind_then, discrepancy_id
