-- Which differences stand between the provider and the books after this night, and what should be done about each?
--
-- Parameters: :job, :business_day. One row per discrepancy that is open, and once more per one that ended on this day.
-- Every text a person reads in this file is written here; a copy of it in the settings' `reports` folder replaces it.
--
-- status     new: opened on this business day; reopened: came back on it; persisting: older; resolved: gone since this
--            day, listed this once; acknowledged: accepted by a person, listed after the others
-- priority   1 high, 2 normal, 3 low. By kind: 1 where money may be lost, booked twice or not looked at; 2 where it is
--            in place but described otherwise; 3 where only time or a fee is at stake. By amount: a difference of 1,000
--            units or more is one step more urgent, one below 1 unit one step less. A unit is one major unit of the
--            currency, or as many as are worth roughly as much where they are small (100 yen, 1,000 pesos, 10,000 rupiah).
-- difference provider - ledger (stated - computed for balances), signed from the merchant's side; an absent side counts 0
-- The last three columns are empty: they are for the reader to fill in.
WITH
  -- Narrow rows first: what is worked out here is worked out once, and the texts are joined at the end.
  weighed AS (
    SELECT d.rowid AS row,
           CASE
             WHEN d.state = 'acknowledged' THEN 'acknowledged'
             WHEN d.state = 'resolved' THEN 'resolved'
             WHEN d.first_seen_day = :business_day THEN 'new'
             -- A person who takes back an acknowledgement opens nothing: it was counted as open all the time.
             WHEN EXISTS (SELECT 1 FROM discrepancy_events AS e
                           WHERE e.discrepancy_id = d.discrepancy_id AND e.business_day = :business_day
                             AND e.event = 'reopened' AND e.actor = 'run') THEN 'reopened'
             ELSE 'persisting'
           END AS status,
           CASE
             WHEN d.kind IN ('missing_in_ledger', 'missing_in_provider', 'missing_in_bank', 'amount_mismatch',
                             'currency_mismatch', 'direction_mismatch', 'reversed_after_booking',
                             'duplicate_in_provider', 'duplicate_in_ledger', 'cross_provider_duplicate',
                             'balance_residual', 'settlement_mismatch', 'incomplete_window') THEN 1
             WHEN d.kind IN ('fee_mismatch', 'stale_pending', 'lookup_failed', 'not_checkable') THEN 3
             ELSE 2
           END AS by_kind,
           -- Minor units of one major unit. (A list after IN would be a table that is searched for every row.)
           CASE
             WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', d.currency) THEN 1
             WHEN instr('BHD IQD JOD KWD LYD OMR TND', d.currency) THEN 1000
             ELSE 100
           END AS scale,
           -- Major units that are roughly worth one: orders of magnitude, not rates.
           CASE
             WHEN instr('IDR VND IRR LAK GNF UZS SLE', d.currency) THEN 10000
             WHEN instr('COP PYG CLP KRW UGX TZS MMK KHR MNT IQD NGN ARS', d.currency) THEN 1000
             WHEN instr('JPY INR HUF ISK PHP RUB XAF XOF XPF CRC KES LKR PKR', d.currency) THEN 100
             WHEN instr('THB MXN TWD UYU CZK SEK NOK DKK TRY ZAR BOB HKD CNY', d.currency) THEN 10
             ELSE 1
           END AS unit,
           -- Magnitudes are kept below zero: there, every 64-bit number has one.
           iif(d.difference_minor < 0, d.difference_minor, -d.difference_minor) AS below
      FROM discrepancies AS d
     WHERE d.job = :job
       AND (d.state IN ('open', 'acknowledged') OR (d.state = 'resolved' AND d.resolved_day = :business_day))
  ),
  ranked AS MATERIALIZED (
    SELECT row,
           status,
           CASE
             WHEN below / scale / unit <= -1000 THEN max(by_kind - 1, 1)
             WHEN below < 0 AND below / scale / unit = 0 THEN min(by_kind + 1, 3)
             ELSE by_kind
           END AS priority,
           coalesce(below / scale, 0) AS majors,
           coalesce(below % scale * (1000 / scale), 0) AS thousandths
      FROM weighed
  )
SELECT discrepancy_id,
       status,
       kind,
       priority,
       job,
       provider,
       account,
       business_day,
       direction,
       currency,
       ledger_amount,
       provider_amount,
       difference,
       reference,
       provider_id,
       ledger_id,
       provider_status,
       ledger_status,
       occurred_at,
       booked_at,
       first_seen_day AS first_seen,
       age_days,
       -- With the word `days`: a bare 2-7 becomes the second of July in a spreadsheet.
       CASE WHEN age_days <= 1 THEN '0-1 days' WHEN age_days <= 7 THEN '2-7 days' WHEN age_days <= 30 THEN '8-30 days'
            ELSE 'over 30 days' END AS age_bucket,
       what_differs,
       CASE
         WHEN status = 'resolved' THEN 'the cause is gone since the last night'
         ELSE CASE kind
           WHEN 'missing_in_ledger' THEN CASE direction
             WHEN 'out' THEN 'the provider paid out and the books have no entry: a payout, refund or fee was not booked'
             ELSE 'the provider took the money and the books have no entry: a notification was lost, or the booking failed' END
           WHEN 'missing_in_provider' THEN 'booked, but the provider lists nothing under this key: the request never reached it, the payer left, or the key was booked wrongly'
           WHEN 'amount_mismatch' THEN CASE
             WHEN difference_minor < 0 AND direction = 'in' THEN 'less arrived than was booked: a partial payment, a fee that was taken off, or a booking of the wrong amount'
             WHEN difference_minor > 0 AND direction = 'in' THEN 'more arrived than was booked: an overpayment, or a booking of the wrong amount'
             ELSE 'the provider paid out another amount than was booked: a fee inside the amount, or a booking of the wrong amount' END
           WHEN 'currency_mismatch' THEN 'the provider settled in another currency than was booked: a conversion at the provider, or a wrong currency in the books'
           WHEN 'direction_mismatch' THEN 'the provider moved the money the other way: a sign error in the books, or a refund booked as a payment'
           WHEN 'fee_mismatch' THEN 'the provider charged another fee than was booked: a new price, tax inside the fee, or a fee booked by estimate'
           WHEN 'status_mismatch' THEN 'one side calls it done and the other does not: a late or lost notification, or a status that was not carried over'
           WHEN 'reversed_after_booking' THEN 'the provider took back what was settled and booked: a chargeback, a return or a reversal'
           WHEN 'changed_after_final' THEN 'the provider changed a record that it had called final'
           WHEN 'vanished' THEN 'the provider listed this once and does not list it any more, in a complete reading'
           WHEN 'duplicate_in_provider' THEN 'the same identity stands twice at the provider: the payer was charged twice, or a request was sent again'
           WHEN 'duplicate_in_ledger' THEN 'the same identity is booked twice: a notification was worked off twice'
           WHEN 'cross_provider_duplicate' THEN 'one reference was settled at two providers: the payer tried again elsewhere and both went through'
           WHEN 'ambiguous' THEN 'several equal records or entries could belong together; nothing tells them apart'
           WHEN 'suggested' THEN 'a record and an entry of the same amount stand near each other without a shared key: the key was not booked, or mistyped'
           WHEN 'stale_pending' THEN 'open at the provider for longer than usual: it may never be decided there'
           WHEN 'balance_residual' THEN 'the provider''s own figures do not add up: a record is missing or changed on its side, or a movement is not listed'
           WHEN 'settlement_mismatch' THEN 'the settlement differs from the sum of its members: a deduction without a line, or a member is missing'
           WHEN 'missing_in_bank' THEN 'the payout is due and the bank shows no credit: it is late, went elsewhere, or was returned'
           WHEN 'unclassified' THEN 'the provider or the books use a word that the settings do not name'
           WHEN 'unreadable' THEN 'a row could not be read exactly; its value was not guessed'
           WHEN 'incomplete_window' THEN 'the provider was not read to its end here; what lies in the gap is unknown'
           WHEN 'lookup_failed' THEN 'the provider was asked about this key and gave no usable answer; it may know the payment or not'
           WHEN 'not_checkable' THEN 'the provider answers only by a key that this entry lacks, or that has a wrong form: the request died before the key was known, or the key was not booked'
           ELSE 'not described'
         END
       END AS likely_cause,
       CASE
         WHEN status = 'resolved' THEN 'none'
         ELSE CASE kind
           WHEN 'missing_in_ledger' THEN 'book it under this reference'
           WHEN 'missing_in_provider' THEN 'ask ' || coalesce(provider, 'the provider') || ' for this key; if it is unknown there, reverse the booking'
           WHEN 'amount_mismatch' THEN 'correct the booked amount, or claim the difference from ' || coalesce(provider, 'the provider')
           WHEN 'currency_mismatch' THEN 'correct the booked currency; no difference is computed across currencies'
           WHEN 'direction_mismatch' THEN 'correct the direction of the entry'
           WHEN 'fee_mismatch' THEN 'book the fee as charged, or claim it under the contract'
           WHEN 'status_mismatch' THEN 'bring the entry in line with the provider''s status, and look for the lost notification'
           WHEN 'reversed_after_booking' THEN 'book the reversal; it closes by itself then'
           WHEN 'changed_after_final' THEN 'compare both versions, correct the books if needed, then acknowledge it'
           WHEN 'vanished' THEN 'ask ' || coalesce(provider, 'the provider') || ' why it is gone before touching the books'
           WHEN 'duplicate_in_provider' THEN 'refund one of them, or book the second payment'
           WHEN 'duplicate_in_ledger' THEN 'reverse one of the entries'
           WHEN 'cross_provider_duplicate' THEN 'refund one of the two payments'
           WHEN 'ambiguous' THEN 'enter the provider''s id in the books for each of them'
           WHEN 'suggested' THEN 'if they belong together, enter the key in the books; if not, treat both as missing'
           WHEN 'stale_pending' THEN 'ask ' || coalesce(provider, 'the provider') || ' to settle or cancel it'
           WHEN 'balance_residual' THEN 'send the figures in `what_differs` to ' || coalesce(provider, 'the provider')
           WHEN 'settlement_mismatch' THEN 'ask ' || coalesce(provider, 'the provider') || ' for the lines of this settlement'
           WHEN 'missing_in_bank' THEN 'look for the credit at the bank, then ask for a trace of the payout'
           WHEN 'unclassified' THEN 'name the word in the job''s settings; it is compared from the next run on'
           WHEN 'unreadable' THEN 'correct the row at its source; `evidence` names the place'
           WHEN 'incomplete_window' THEN 'none at first: the next run reads it again; if it stays, ask ' || coalesce(provider, 'the provider')
           WHEN 'lookup_failed' THEN 'none at first: it is asked again every night; if it stays, ask ' || coalesce(provider, 'the provider') || ' about this key'
           WHEN 'not_checkable' THEN 'enter the key in the books; without one, ask the provider about this payment by hand'
           ELSE 'look at both sides'
         END
       END AS suggested_action,
       suggested_match,
       evidence,
       NULL AS owner,
       NULL AS decision,
       NULL AS note
  FROM ranked CROSS JOIN discrepancies AS d ON d.rowid = ranked.row
 ORDER BY status = 'acknowledged', priority, majors, thousandths, age_days DESC, discrepancy_id;
