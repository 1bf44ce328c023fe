-- Which references stand more than once on one side, in one direction, as settled?
-- Parameters: :job
-- Columns: side, direction, reference, how often here, how often on the other side, currencies, sum of amounts
-- The comparison pairs as many as it can (equal ones first); what is left over is the duplicate, but for refunds in parts of
-- different amounts.
WITH sides AS (
  SELECT 'provider' AS side, t.direction, t.reference, t.currency, t.amount_minor
    FROM transactions AS t
   WHERE t.job = :job AND t.vanished_at IS NULL AND t.kind NOT IN ('fee', 'unknown') AND t.status = 'settled'
     AND t.reference <> ''
  UNION ALL
  SELECT 'ledger', e.direction, e.reference, e.currency, e.amount_minor
    FROM ledger_entries AS e
   WHERE e.job = :job AND e.status = 'settled' AND e.reference <> ''
)
SELECT CASE WHEN sum(s.side = 'provider') > sum(s.side = 'ledger') THEN 'provider' ELSE 'ledger' END AS side,
       s.direction, s.reference, sum(s.side = 'provider') AS records, sum(s.side = 'ledger') AS entries,
       group_concat(DISTINCT s.currency) AS currencies,
       sum(iif(s.side = 'provider', s.amount_minor, -s.amount_minor)) AS difference_minor
  FROM sides AS s
 GROUP BY s.direction, s.reference
HAVING max(sum(s.side = 'provider'), sum(s.side = 'ledger')) > 1
   AND sum(s.side = 'provider') <> sum(s.side = 'ledger')
 ORDER BY s.direction, s.reference
