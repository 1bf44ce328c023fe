-- Where do records and entries differ that stand alone under their reference, or provider_id, on their side?
-- Parameters: :job, :as_of, :start, :until (end of the last business day), :grace_ledger_s, :grace_provider_s,
--             :grace_missing_s, :stale_s (seconds), :tolerance_minor, :ledger (0: the job has none, and nothing can be missing there)
-- Columns: kind, direction, reference, provider_id, ledger_id, currency, provider_amount_minor, ledger_amount_minor,
--          difference_minor (provider - ledger)
-- The same answer as the comparison for: missing_in_ledger, missing_in_provider, amount_mismatch, currency_mismatch,
-- status_mismatch, fee_mismatch, stale_pending, reversed_after_booking, and direction_mismatch where the ledger carries the
-- provider_id. References and ids that stand twice, and words nobody declared, are for the rules of the program; so are
-- suggestions, which replace two missing rows by one.
WITH live AS (
  SELECT t.transaction_id, t.job, t.direction, t.provider_id
    FROM transactions AS t
   WHERE t.job = :job AND t.vanished_at IS NULL
     AND t.provider_id IN (SELECT e.provider_id FROM ledger_entries AS e WHERE e.job = :job AND e.provider_id IS NOT NULL)
), named AS (
  -- which record an entry names: one of its own direction before one of the other
  SELECT e.entry_id, l.transaction_id, count(*) OVER (PARTITION BY e.entry_id) AS records,
         count(*) OVER (PARTITION BY l.transaction_id) AS entries
    FROM ledger_entries AS e
    JOIN live AS l ON l.provider_id = e.provider_id
   WHERE e.job = :job AND e.status <> 'excluded'
     AND (l.direction = e.direction
          OR NOT EXISTS (SELECT 1 FROM live AS o WHERE o.provider_id = e.provider_id AND o.direction = e.direction))
), records AS (
  SELECT t.*, unixepoch(coalesce(t.changed_at, t.occurred_at, t.first_seen_at)) AS changed_s,
         unixepoch(coalesce(t.occurred_at, t.changed_at, t.first_seen_at)) AS born_s,
         coalesce(t.occurred_at, t.changed_at, t.first_seen_at) AS born_at
    FROM transactions AS t
   WHERE t.job = :job AND t.vanished_at IS NULL AND t.kind NOT IN ('fee', 'unknown') AND t.status <> 'unknown'
), alone AS (
  SELECT t.*
    FROM records AS t
   WHERE t.reference <> '' AND t.transaction_id NOT IN (SELECT n.transaction_id FROM named AS n)
     AND NOT EXISTS (SELECT 1 FROM transactions AS o
                      WHERE o.job = t.job AND o.direction = t.direction AND o.reference = t.reference
                        AND o.vanished_at IS NULL AND o.kind <> 'fee' AND o.transaction_id <> t.transaction_id)
), entries AS (
  SELECT e.*, unixepoch(e.booked_at) AS booked_s
    FROM ledger_entries AS e
   WHERE e.job = :job AND e.status NOT IN ('excluded', 'unknown')
), by_reference AS (
  SELECT e.*
    FROM entries AS e
   WHERE e.provider_id IS NULL
     AND NOT EXISTS (SELECT 1 FROM ledger_entries AS o
                      WHERE o.job = e.job AND o.direction = e.direction AND o.reference = e.reference
                        AND o.status <> 'excluded' AND o.entry_id <> e.entry_id)
), partners AS (
  SELECT n.transaction_id, n.entry_id FROM named AS n WHERE n.records = 1 AND n.entries = 1
  UNION ALL
  SELECT t.transaction_id, e.entry_id
    FROM alone AS t
    JOIN by_reference AS e ON e.direction = t.direction AND e.reference = t.reference
), pairs AS (
  SELECT t.direction, e.direction AS our_direction, t.reference, t.provider_id, e.ledger_id, t.currency,
         t.amount_minor AS theirs, e.amount_minor AS ours,
         t.status AS their_status, e.status AS our_status, e.currency AS our_currency,
         t.fee_minor, e.fee_minor AS our_fee, t.fee_currency, t.changed_s, t.born_s, e.booked_s,
         coalesce(unixepoch(coalesce(t.occurred_at, t.changed_at)), e.booked_s, t.born_s) AS dated_s,
         EXISTS (SELECT 1 FROM superseded_versions AS s
                  WHERE s.transaction_id = t.transaction_id AND s.status = 'settled') AS was_settled
    FROM partners AS n
    JOIN records AS t ON t.transaction_id = n.transaction_id
    JOIN entries AS e ON e.entry_id = n.entry_id
), judged AS (
  SELECT CASE
           WHEN p.currency <> p.our_currency THEN 'currency_mismatch'
           WHEN p.direction <> p.our_direction THEN 'direction_mismatch'
           WHEN p.their_status = 'failed' AND p.our_status = 'settled'
             THEN iif(p.was_settled, 'reversed_after_booking', 'status_mismatch')
           WHEN p.their_status = 'settled' AND p.our_status = 'failed' THEN 'status_mismatch'
           WHEN p.their_status = 'settled' AND p.our_status = 'open'
                AND unixepoch(:as_of) >= p.changed_s + :grace_ledger_s THEN 'status_mismatch'
           WHEN p.their_status = 'open' AND p.our_status = 'settled'
                AND unixepoch(:as_of) >= coalesce(p.booked_s, p.born_s) + :grace_provider_s THEN 'status_mismatch'
           WHEN p.their_status = 'open' AND p.our_status IN ('open', 'failed')
                AND unixepoch(:as_of) >= p.dated_s + :stale_s THEN 'stale_pending'
           WHEN p.their_status = 'failed' AND p.our_status = 'open'
                AND unixepoch(:as_of) >= p.changed_s + :stale_s THEN 'status_mismatch'
           WHEN abs(p.theirs - p.ours) > :tolerance_minor THEN 'amount_mismatch'
           WHEN p.their_status = 'settled' AND p.our_status = 'settled' AND p.fee_minor <> p.our_fee
                AND coalesce(p.fee_currency, p.currency) = p.currency THEN 'fee_mismatch'
         END AS kind, p.*
    FROM pairs AS p
)
SELECT j.kind, j.direction, j.reference, j.provider_id, j.ledger_id, j.currency, j.theirs AS provider_amount_minor,
       j.ours AS ledger_amount_minor,
       CASE j.kind WHEN 'currency_mismatch' THEN NULL WHEN 'fee_mismatch' THEN j.fee_minor - j.our_fee
                   ELSE j.theirs - j.ours END AS difference_minor
  FROM judged AS j
 WHERE j.kind IS NOT NULL
UNION ALL
SELECT iif(t.status = 'open', 'stale_pending', 'missing_in_ledger'), t.direction, t.reference, t.provider_id, NULL, t.currency,
       t.amount_minor, NULL, t.amount_minor
  FROM alone AS t
 WHERE (t.status = 'open' OR (t.status = 'settled' AND :ledger)) AND t.born_at >= :start
   AND NOT EXISTS (SELECT 1 FROM ledger_entries AS e
                    WHERE e.job = t.job AND e.direction = t.direction AND e.reference = t.reference AND e.status <> 'excluded'
                      AND e.provider_id IS NULL)
   AND CASE t.status WHEN 'open' THEN unixepoch(:as_of) >= t.born_s + :stale_s
                     ELSE unixepoch(:as_of) >= t.changed_s + :grace_ledger_s AND t.born_at < :until END
UNION ALL
SELECT 'missing_in_provider', e.direction, e.reference, e.provider_id, e.ledger_id, e.currency, NULL, e.amount_minor, -e.amount_minor
  FROM entries AS e
 WHERE e.status IN ('settled', 'open') AND coalesce(e.booked_at, :start) >= :start AND coalesce(e.booked_at, :start) < :until
   AND (e.booked_at IS NULL
        OR unixepoch(:as_of) >= e.booked_s + iif(e.status = 'open', :stale_s, :grace_missing_s))
   AND CASE WHEN e.provider_id IS NOT NULL
            -- an id that the provider does not know is not tried again by reference
            THEN e.provider_id NOT IN (SELECT t.provider_id FROM transactions AS t WHERE t.job = :job)
            ELSE e.entry_id IN (SELECT r.entry_id FROM by_reference AS r)
                 AND NOT EXISTS (SELECT 1 FROM transactions AS t
                                  WHERE t.job = e.job AND t.direction = e.direction AND t.reference = e.reference
                                    AND t.transaction_id NOT IN (SELECT n.transaction_id FROM named AS n)
                                    -- the entry of a vanished record stands in its row; a fee record needs no entry, but an
                                    -- entry that books it has found it
                                    AND (t.kind <> 'fee' OR (e.status = 'settled' AND t.amount_minor = e.amount_minor
                                                             AND t.currency = e.currency)))
       END
   -- nothing that was begun around the booking was left unread
   AND NOT EXISTS (SELECT 1 FROM windows AS w
                    WHERE w.job = e.job AND w.state <> 'sealed'
                      AND unixepoch(w.from_at) < coalesce(e.booked_s, unixepoch(:until)) + 86400
                      AND unixepoch(w.until_at) > coalesce(e.booked_s, unixepoch(:start)) - 86400)
 ORDER BY 2, 3, 1
