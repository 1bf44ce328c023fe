-- Which rows are known that the lists of a day do not hold, or hold on another day than before, with one of these amounts?
-- Parameters: :job, :amounts (JSON list of minor units, both signs of each)
-- Columns: what, account, currency, at, effect (what is missing from the list, signed), fee, name, provider_id, more, at_more
WITH wanted AS MATERIALIZED (SELECT value AS minor FROM json_each(:amounts))
-- listed once, gone since
SELECT 'gone', account, currency, coalesce(changed_at, occurred_at), amount_minor, fee_minor, reference, provider_id,
       provider_status, vanished_at
  FROM transactions INDEXED BY transactions_vanished
 WHERE job = :job AND vanished_at IS NOT NULL AND status = 'settled'
   AND (amount_minor IN wanted OR fee_minor IN wanted)
UNION ALL
-- settled then, and dated another day or failed now
SELECT 'moved', t.account, s.currency, coalesce(s.changed_at, s.occurred_at), s.amount_minor, s.fee_minor, t.reference,
       t.provider_id, t.provider_status, coalesce(t.changed_at, t.occurred_at)
  FROM superseded_versions AS s JOIN transactions AS t USING (transaction_id)
 WHERE t.job = :job AND t.vanished_at IS NULL AND s.status = 'settled'
   AND (s.amount_minor IN wanted OR s.fee_minor IN wanted)
   AND coalesce(s.changed_at, s.occurred_at) IS NOT coalesce(t.changed_at, t.occurred_at)
UNION ALL
-- the same, from the day on which it stands now
SELECT 'came', t.account, t.currency, coalesce(t.changed_at, t.occurred_at), -t.amount_minor, -t.fee_minor, t.reference,
       t.provider_id, t.provider_status, coalesce(s.changed_at, s.occurred_at)
  FROM superseded_versions AS s JOIN transactions AS t USING (transaction_id)
 WHERE t.job = :job AND t.vanished_at IS NULL AND s.status = 'settled' AND t.status = 'settled'
   AND (-t.amount_minor IN wanted OR -t.fee_minor IN wanted)
   AND coalesce(s.changed_at, s.occurred_at) IS NOT coalesce(t.changed_at, t.occurred_at)
UNION ALL
-- listed, but not as settled
SELECT 'open', account, currency, coalesce(changed_at, occurred_at), amount_minor, fee_minor, reference, provider_id,
       provider_status, NULL
  FROM transactions
 WHERE job = :job AND vanished_at IS NULL AND status IN ('open', 'unknown')
   AND (amount_minor IN wanted OR fee_minor IN wanted)
UNION ALL
-- booked only
SELECT 'booked', account, currency, booked_at, amount_minor, fee_minor, nullif(reference, ''), provider_id,
       source || ' line ' || source_line, NULL
  FROM ledger_entries AS e
 WHERE job = :job AND status = 'settled' AND amount_minor IN wanted
   AND NOT EXISTS (SELECT 1 FROM transactions AS t
                    WHERE t.job = e.job AND t.direction = e.direction AND t.reference = e.reference)
 ORDER BY 1, 4, 8, 7
