-- Which records changed amount, currency, fee or status after a version that the provider called final?
-- Parameters: :job
-- Columns: transaction_id, version (the final one that was left last), what the final version and its successor said
-- A settled record that failed later and is known to the ledger is reversed_after_booking, not this. A fee stated for the
-- first time is no change.
WITH versions AS (
  SELECT s.transaction_id, s.version, s.currency, s.amount_minor, s.fee_minor, s.status, s.provider_status
    FROM superseded_versions AS s
   WHERE s.transaction_id IN (SELECT f.transaction_id FROM superseded_versions AS f INDEXED BY superseded_final WHERE f.is_final = 1)
  UNION ALL
  SELECT t.transaction_id, t.version, t.currency, t.amount_minor, t.fee_minor, t.status, t.provider_status
    FROM transactions AS t
   WHERE t.transaction_id IN (SELECT f.transaction_id FROM superseded_versions AS f INDEXED BY superseded_final WHERE f.is_final = 1)
)
SELECT t.transaction_id, max(old.version) AS version,
       old.currency, old.amount_minor, old.fee_minor, old.status, old.provider_status,
       new.currency, new.amount_minor, new.fee_minor, new.status, new.provider_status
  FROM superseded_versions AS old INDEXED BY superseded_final
 CROSS JOIN transactions AS t ON t.transaction_id = old.transaction_id AND t.job = :job
  JOIN versions AS new ON new.transaction_id = old.transaction_id AND new.version = old.version + 1
 WHERE old.is_final = 1
   AND (old.amount_minor <> new.amount_minor OR old.currency <> new.currency OR old.status <> new.status
        OR (old.fee_minor IS NOT NULL AND new.fee_minor IS NOT old.fee_minor))
   AND NOT (old.status = 'settled' AND new.status = 'failed'
            AND (EXISTS (SELECT 1 FROM ledger_entries AS e
                          WHERE e.job = t.job AND e.direction = t.direction AND e.reference = t.reference
                            AND e.status <> 'excluded')
                 OR EXISTS (SELECT 1 FROM ledger_entries AS e WHERE e.job = t.job AND e.provider_id = t.provider_id
                               AND e.status <> 'excluded')))
 GROUP BY t.transaction_id
 ORDER BY t.transaction_id
