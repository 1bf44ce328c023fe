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
-- what_differs, field: ledger value -> provider value; `absent` where a side has none. For the provider's own figures it is
--            the relation's name: what its rows give -> what it states; for changed_after_final the old value -> the new one
-- likely_cause, suggested_action: the sentence in `wording` that fits best, by kind, provider and flavour
-- suggested_match: the one row that would fit, and why; empty where there is none or more than one
-- evidence   feed, day or subject, page as the provider numbers it and row in it (from 0); ledger file and line (from 1)
-- difference provider - ledger (stated - computed for balances), signed from the merchant's side; an absent side counts 0
-- The last three columns are for the reader: empty until somebody decides, then what stands (`reconciled decide`).
WITH
  -- Narrow rows first, in the order of the table: what is worked out here is worked out once, and the texts are joined at
  -- the end. (Sorted here, the end would read the table in leaps, which takes longer than sorting whole rows.)
  weighed AS (
    SELECT d.rowid AS row, d.kind, coalesce(d.provider, '') AS provider,
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
           iif(d.difference_minor < 0, d.difference_minor, -d.difference_minor) AS below,
           -- What a sentence depends on apart from kind and provider.
           coalesce(CASE
             WHEN d.provider = 'ayoconnect' AND d.what_differs LIKE 'binding: %' THEN 'unbound'
             WHEN d.provider = 'ayoconnect' AND d.evidence LIKE 'bindings of %' THEN 'binding'
             WHEN d.kind = 'missing_in_ledger' AND d.provider = 'payvyne' THEN replace(upper(d.provider_status), '_', '-')
             WHEN d.kind = 'amount_mismatch' THEN d.direction || CASE
               WHEN (d.difference_minor < 0) = (d.direction = 'in') THEN '_less'
               ELSE '_more' END
             WHEN d.kind = 'fee_mismatch' THEN iif(d.difference_minor < 0, 'less', 'more')
             WHEN d.kind = 'status_mismatch' THEN CASE
               WHEN d.what_differs LIKE '%status: settled -> failed%' THEN 'booked_failed'
               WHEN d.what_differs LIKE '%status: settled -> open%' THEN 'booked_open'
               WHEN d.what_differs LIKE '%status: open -> settled%' THEN 'open_settled'
               WHEN d.what_differs LIKE '%status: failed -> settled%' THEN 'failed_settled'
               WHEN d.what_differs LIKE '%status: open -> failed%' THEN 'open_failed' END
             WHEN d.kind = 'changed_after_final' THEN CASE
               WHEN d.what_differs LIKE 'amount: %' THEN 'amount'
               WHEN d.what_differs LIKE 'fee: %' THEN 'fee' END
             WHEN d.kind = 'vanished' THEN iif(d.ledger_amount_minor IS NULL, 'alone', 'booked')
             -- `payvyne R5: …`: the relation.
             WHEN d.kind IN ('balance_residual', 'settlement_mismatch') THEN
               substr(d.detail, instr(d.detail, ' ') + 1, max(instr(d.detail, ':') - instr(d.detail, ' ') - 1, 0))
             WHEN d.kind = 'unclassified' THEN CASE
               WHEN d.provider_status = 'PARTIALLY REFUNDED' THEN d.provider_status
               WHEN d.detail LIKE 'the ledger %' THEN 'ledger'
               ELSE 'provider' END
             WHEN d.kind = 'unreadable' THEN iif(d.evidence LIKE '%, page %', 'page', 'file')
             WHEN d.kind = 'stale_pending' THEN d.provider_status
             ELSE d.direction
           END, '') AS flavour
      FROM discrepancies AS d
     WHERE d.job = :job
       AND (d.state IN ('open', 'acknowledged') OR (d.state = 'resolved' AND d.resolved_day = :business_day))
  ),
  ranked AS MATERIALIZED (
    SELECT row, kind, provider, flavour, status,
           CASE
             WHEN below / scale / unit <= -1000 THEN max(by_kind - 1, 1)
             WHEN below < 0 AND below / scale / unit = 0 THEN min(by_kind + 1, 3)
             ELSE by_kind
           END AS priority,
           coalesce(below / scale, 0) AS majors,
           coalesce(below % scale * (1000 / scale), 0) AS thousandths
      FROM weighed
  ),
  -- The sentences. kind, provider ('' any), flavour ('' any), likely cause, what to do. In them {provider}, {amount} (the
  -- provider's, else the ledger's), {difference} (without its sign), {currency}, {key} (reference, else an id), {ledger_id},
  -- {job} (in actions only), {word} and {ours} (the status at the provider and in the books) and {detail} (what was seen, in
  -- figures) stand for the row's own values.
  wording (kind, provider, flavour, cause, action) AS (
    VALUES
      -- money at the provider, nothing in the books
      ('missing_in_ledger', '', 'in',
       '{provider} took {amount} and the books have no entry under this key: the notification was lost, or the booking failed',
       'book {amount} under {key}, and look in the notification log why nobody did'),
      ('missing_in_ledger', '', 'out',
       '{provider} paid out {amount} and the books have no entry under this key: a payout, refund or fee that nobody booked',
       'find out who ordered it, then book {amount} under {key}'),
      ('missing_in_ledger', 'payvyne', 'PAYMENT',
       'this payment stands in a PayVyne sweep, so the {amount} have reached the settlement account; the books have no entry: the notification was lost, or the payment settled after the order had been given up',
       'book {amount} under {key}, and check whether the order was delivered'),
      ('missing_in_ledger', 'payvyne', 'REFUND',
       'PayVyne sent {amount} back to a payer and the books have no refund: one made by hand in the portal is not booked by itself',
       'find the payment that was refunded in the portal, then book the refund of {amount} under {key}'),
      ('missing_in_ledger', 'payvyne', 'PAYOUT',
       'PayVyne paid out {amount} and the books have no payout: one ordered by hand in the portal is not booked by itself',
       'find out who ordered it in the portal, then book {amount} under {key}'),
      ('missing_in_ledger', 'payvyne', 'TOP-UP',
       'somebody moved {amount} into the PayVyne settlement account and the books have no entry for it',
       'book the transfer of {amount} from your own account'),
      ('missing_in_ledger', 'payvyne', '',
       'PayVyne lists a movement of {amount} of the type {word} and the books have no entry; money from an account that is not approved is sent back at once and stands here twice, once in and once out',
       'look for the counterpart of the same amount; if there is none, book {amount} under {key}'),
      ('missing_in_ledger', 'tupay', 'in',
       'TuPay completed this deposit of {amount} and the books have no entry: a lost notification (TuPay gives up after five tries), or a deposit completed by hand after it had expired',
       'book {amount} under {key}, and check whether the order was delivered'),
      ('missing_in_ledger', 'tupay', 'out',
       'TuPay completed this cashout of {amount} and the books have no entry: one ordered in the panel is not booked by itself',
       'find out who ordered it in the panel, then book {amount} under {key}'),
      ('missing_in_ledger', 'one2pays', 'in',
       'One2Pays calls this payment of {amount} succeeded and the books have no entry: bank transfers are confirmed some time after the payer sent them, often when the order had already expired',
       'book {amount} under {key}, and check whether the order was delivered'),
      ('missing_in_ledger', 'one2pays', 'out',
       'One2Pays paid this withdraw of {amount} and the books have no entry: one ordered in the dashboard is not booked by itself',
       'find out who ordered it in the dashboard, then book {amount} under {key}'),
      ('missing_in_ledger', 'ayoconnect', 'out',
       'Ayoconnect says that {amount} were refunded (its word: {word}) and the books have no refund',
       'book the refund of {amount} under {key}, or ask Ayoconnect who ordered it'),
      -- booked, nothing at the provider
      ('missing_in_provider', '', 'in',
       'booked as received, but {provider} shows nothing under this key: the payer never finished, the key was booked wrongly, or the money came another way',
       'search {provider} for {key} and for {amount}; if neither is known there, reverse the booking'),
      ('missing_in_provider', '', 'out',
       'booked as paid out, but {provider} shows nothing under this key: the order never reached it, or was booked under another key',
       'search {provider} for {key} and for {amount}; if neither is known there, order the payout again or reverse the booking'),
      ('missing_in_provider', 'payvyne', 'in',
       'booked as received, but no sweep up to now holds it and the days a sweep may lag are over; at PayVyne `COMPLETED` only means that the payer''s bank accepted the order, and the money may never come',
       'look {key} up in the PayVyne portal: only SETTLED is money; for any other status reverse the booking or go back to the payer'),
      ('missing_in_provider', 'payvyne', 'out',
       'booked as sent, but no sweep up to now holds it and the days a sweep may lag are over: the payout or refund failed, or was never ordered',
       'look {key} up in the PayVyne portal; if it failed there, order it again or reverse the booking'),
      ('missing_in_provider', 'tupay', 'in',
       'booked as received, but TuPay lists no deposit under this key, and its lists were read to their end: the payer never paid, or the key was booked wrongly',
       'search the TuPay panel for {key} and for {amount}; if neither is known there, reverse the booking'),
      ('missing_in_provider', 'tupay', 'out',
       'booked as paid out, but TuPay lists no cashout under this key, and its lists were read to their end: the order never reached TuPay, or the key was booked wrongly',
       'search the TuPay panel for {key} and for {amount}; if neither is known there, order the cashout again or reverse the booking'),
      ('missing_in_provider', 'one2pays', '',
       'booked, but the whole list of One2Pays was read and nothing in it bears this key: the payer never finished, or the order got another reference there',
       'search the One2Pays dashboard for {amount} around the booking day; if nothing fits, reverse the booking'),
      ('missing_in_provider', 'twopay', '',
       'booked, but TwoPay was asked about this key and does not know it: the request never reached TwoPay, or the key was booked wrongly',
       'search the TwoPay portal for {amount} around the booking day; if nothing fits, reverse the booking'),
      ('missing_in_provider', 'ayoconnect', '',
       'booked, but Ayoconnect was asked about this key and answered that there is no such transaction: no money moved under it',
       'reverse the booking; if the customer''s bank shows a debit, send {key} to Ayoconnect'),
      ('missing_in_provider', 'ayoconnect', 'unbound',
       'the books call this card or account `{ours}`, Ayoconnect knows no such binding: it cannot be debited; no money is involved',
       'give the customer a new link (reconciled ayoconnect bind-link {job}), then book the new binding, or close it in the books'),
      -- both sides, another amount
      ('amount_mismatch', '', 'in_less',
       '{difference} less arrived than was booked: a partial payment, a fee taken off before, or a wrong amount in the books',
       'correct the booking to {amount}, or claim {difference} from the payer'),
      ('amount_mismatch', '', 'in_more',
       '{difference} more arrived than was booked: an overpayment, or a wrong amount in the books',
       'correct the booking to {amount}, or pay {difference} back'),
      ('amount_mismatch', '', 'out_more',
       '{difference} more went out than was booked: a fee inside the amount, or a wrong amount in the books',
       'correct the booking to {amount}, or claim {difference} from {provider}'),
      ('amount_mismatch', '', 'out_less',
       '{difference} less went out than was booked: a fee kept back, or a wrong amount in the books',
       'correct the booking to {amount}, and see whether {difference} must still be sent'),
      ('amount_mismatch', 'tupay', 'in_less',
       '{difference} less arrived than was booked: the payer sent another sum than was asked for and TuPay completed the deposit with it, or the books hold a wrong amount; a fee it is not, TuPay states those apart',
       'correct the booking to {amount}, or claim {difference} from the payer'),
      ('amount_mismatch', 'tupay', 'in_more',
       '{difference} more arrived than was booked: the payer sent another sum than was asked for and TuPay completed the deposit with it, or the books hold a wrong amount',
       'correct the booking to {amount}, or pay {difference} back'),
      ('amount_mismatch', 'one2pays', 'in_less',
       '{difference} less stands at One2Pays than was booked; it shows no fees anywhere, so a fee taken off before would look like this',
       'compare with the contract: book {difference} as a fee if it is one, else correct the booking to {amount}'),
      ('amount_mismatch', 'twopay', '',
       'TwoPay states the amount that it was asked for, so the request and the books hold different amounts ({difference} apart)',
       'find out which amount the order had, and correct the booking to {amount} if it was that'),
      ('amount_mismatch', 'ayoconnect', '',
       'Ayoconnect states the amount that it debited; the books differ by {difference}: the order was changed after the debit, or booked wrongly',
       'correct the booking to {amount}'),
      -- both sides, another currency, direction, fee
      ('currency_mismatch', '', '',
       '{provider} settled in {currency} and the books name another currency: a conversion at the provider, or a wrong currency in the books',
       'correct the currency of the booking; no difference is computed across currencies'),
      ('currency_mismatch', 'tupay', '',
       'TuPay settled in {currency} and the books name another currency; TuPay knows orders in PEN and in USD, so the order may have been placed in the other one',
       'correct the currency of the booking; no difference is computed across currencies'),
      ('direction_mismatch', '', 'in',
       'the money came in at {provider} and is booked as going out: a sign error, or a payment booked as a refund',
       'correct the direction of the entry; until then the books are off by {difference}'),
      ('direction_mismatch', '', 'out',
       'the money went out at {provider} and is booked as coming in: a sign error, or a refund booked as a payment',
       'correct the direction of the entry; until then the books are off by {difference}'),
      ('fee_mismatch', '', 'more',
       '{provider} charged {difference} more than the booked fee: a new price, tax inside the fee, or a fee booked by estimate',
       'book the fee as charged, or claim {difference} under the contract'),
      ('fee_mismatch', '', 'less',
       '{provider} charged {difference} less than the booked fee: a new price, or a fee booked by estimate',
       'book the fee as charged'),
      ('fee_mismatch', 'payvyne', 'more',
       'the FEE rows that name this payment come to {difference} more than the booked fee; PayVyne prints fees with VAT where it applies',
       'book the fee as charged; if VAT does not explain it, claim {difference} under the contract'),
      ('fee_mismatch', 'payvyne', 'less',
       'the FEE rows that name this payment come to {difference} less than the booked fee: another price, or a FEE row that comes in a later sweep',
       'wait for the next sweep, then book the fee as charged'),
      -- both sides, another status
      ('status_mismatch', '', 'booked_failed',
       'booked as `{ours}`, but {provider} says `{word}`: no money moved',
       'reverse the booking; if money did move, ask {provider} about {key}'),
      ('status_mismatch', '', 'booked_open',
       'booked as `{ours}`, but still `{word}` at {provider} after the time it may take',
       'do not deliver on it; ask {provider} to settle or cancel {key}'),
      ('status_mismatch', '', 'open_settled',
       '{provider} settled it, but the books still say `{ours}`: the notification was lost or not worked off',
       'book {amount} as settled, and look in the notification log'),
      ('status_mismatch', '', 'failed_settled',
       '{provider} settled it, but the books say `{ours}`: the payment came after the order was given up',
       'book {amount}, then deliver or pay it back'),
      ('status_mismatch', '', 'open_failed',
       '{provider} says `{word}`, so no money moved, but the books still wait for it (`{ours}`)',
       'close the entry'),
      ('status_mismatch', 'tupay', 'failed_settled',
       'TuPay completed it, but the books say `{ours}`: TuPay can complete an expired or cancelled deposit by hand when the payment comes late',
       'book {amount}, then deliver or pay it back'),
      ('status_mismatch', 'one2pays', 'booked_failed',
       'booked as `{ours}`, but One2Pays says `{word}`: no money has arrived; a late bank transfer could still turn it into a success',
       'wait a few days if the payer insists on having paid; else reverse the booking'),
      ('status_mismatch', 'twopay', 'booked_failed',
       'booked as `{ours}`, but TwoPay says `{word}`: no money moved, and a held payout goes back to the wallet',
       'reverse the booking, or order it again under a new key'),
      ('status_mismatch', 'ayoconnect', 'booked_failed',
       'booked as `{ours}`, but Ayoconnect says `{word}`, its proof that the customer was not debited',
       'reverse the booking; debit again only under a new key'),
      ('status_mismatch', 'ayoconnect', 'unbound',
       'the books call this card or account `{ours}`, Ayoconnect says `{word}`: it cannot be debited any more; no money is involved',
       'give the customer a new link (reconciled ayoconnect bind-link {job}), then book the new binding, or close it in the books'),
      ('status_mismatch', 'ayoconnect', 'binding',
       'the books call this card or account `{ours}`, Ayoconnect says `{word}`: it cannot be debited now; no money is involved',
       'ask Ayoconnect or the customer why; change the books if it stays so'),
      -- taken back, changed, gone
      ('reversed_after_booking', '', 'in',
       'settled and booked, then taken back by {provider} (`{word}`): a chargeback, a return or a reversal of {amount}',
       'book the reversal of {amount}; it closes by itself then'),
      ('reversed_after_booking', '', 'out',
       'sent and booked, then returned (`{word}`): the receiving bank sent {amount} back',
       'book the return of {amount}, correct the payee''s data and pay again'),
      ('reversed_after_booking', 'tupay', 'out',
       'TuPay called this cashout completed and says `{word}` now: a bank can return one days later',
       'book the return of {amount}; ask TuPay whether the fee comes back too, then pay again with corrected data'),
      ('reversed_after_booking', 'twopay', 'out',
       'TwoPay called this payout a success and says `{word}` now: the bank sent {amount} back to the wallet',
       'book the return of {amount}, then pay again with corrected data under a new key'),
      ('reversed_after_booking', 'ayoconnect', 'binding',
       'the books call this card or account `{ours}`; it was usable and Ayoconnect says `{word}` now: it cannot be debited any more, no money is involved',
       'give the customer a new link (reconciled ayoconnect bind-link {job}), then book the new binding, or close it in the books'),
      ('changed_after_final', '', 'amount',
       '{provider} restated the amount of a record it had called final: {detail}',
       'correct the books to the new amount if {provider} is right, then accept it; it stays until then'),
      ('changed_after_final', '', 'fee',
       '{provider} restated the fee of a record it had called final: {detail}',
       'correct the booked fee if the new one is right under the contract, then accept it; it stays until then'),
      ('changed_after_final', '', '',
       '{provider} changed a record it had called final: {detail}',
       'compare both versions, correct the books if needed, then accept it; it stays until then'),
      ('vanished', '', 'booked',
       '{provider} listed it once and does not list it any more, in a reading that was complete; the books still have it',
       'ask {provider} why {key} is gone before you touch the books'),
      ('vanished', '', '',
       '{provider} listed it once and does not list it any more, in a reading that was complete',
       'ask {provider} why {key} is gone; nothing is booked for it'),
      -- twice, or not to be told apart
      ('duplicate_in_provider', '', 'in',
       '{provider} has a second settled record under this key, so the payer was probably charged twice',
       'pay {amount} back if the payer ordered once, else book the second payment'),
      ('duplicate_in_provider', '', 'out',
       '{provider} has a second settled record under this key, so the payee was probably paid twice',
       'claim {amount} back if it was owed once, else book the second payout'),
      ('duplicate_in_ledger', '', '',
       'the same payment is booked twice and {provider} has it once: a notification was worked off twice, or it was entered again by hand',
       'reverse one of the two entries; {ledger_id} is the one left over'),
      ('cross_provider_duplicate', '', '',
       'this reference was settled at more than one provider: the payer tried again elsewhere and both went through: {detail}',
       'refund one of the payments, after checking which one the order was delivered for'),
      ('ambiguous', '', '',
       'several records or entries share this key and their amounts do not say which belong together, so none was chosen',
       'write the provider''s own id into the books for each of them'),
      ('suggested', '', '',
       'a record without entry and an entry without record have the same amount, direction and nearly the same day, and no other row fits either: the key was mistyped or not booked',
       'if `suggested_match` is the same payment, correct the key in the books; if not, treat both as missing'),
      -- open for too long
      ('stale_pending', '', '',
       '{provider} has had it as `{word}` for longer than the job''s limit: it may never be decided there',
       'ask {provider} to settle or cancel {key}'),
      ('stale_pending', 'payvyne', '',
       'PayVyne has had it as `{word}` for longer than the job''s limit',
       'look {key} up in the PayVyne portal, and close it there if the payer is gone'),
      ('stale_pending', 'tupay', 'APPROVED',
       'TuPay says `APPROVED`, which it does not explain: accepted, but no proof that the money was credited',
       'ask TuPay whether {key} was credited'),
      ('stale_pending', 'one2pays', '',
       'One2Pays has had it as `{word}` for longer than the job''s limit; a transfer is confirmed there by a manual step that may have been missed',
       'ask One2Pays to confirm or cancel {key}'),
      ('stale_pending', 'twopay', 'IN_PROGRESS',
       'TwoPay has had it in progress for longer than the job''s limit; it publishes no word for expired, and an unpaid cash voucher stays so',
       'ask TwoPay about {key}; if it is an unpaid voucher, close the order'),
      ('stale_pending', 'ayoconnect', 'TIMEOUT',
       'the customer''s bank gave Ayoconnect no answer (`TIMEOUT`): that is no failure, the customer may have been debited',
       'do not debit again; ask Ayoconnect for the bank''s answer about {key}'),
      ('stale_pending', 'ayoconnect', '',
       'Ayoconnect has had it as `{word}` for longer than the job''s limit; only a failure or an unknown key would prove that no money moved',
       'do not debit again; ask Ayoconnect about {key}'),
      -- the provider's own figures
      ('balance_residual', '', '',
       '{provider}s own figures do not add up, by {difference}: a record is missing or changed on its side, or a movement is not listed: {detail}',
       'send these figures and the place in `evidence` to {provider}'),
      ('balance_residual', 'payvyne', 'R1',
       'the sweep''s closing balance is not its opening balance plus its own summary less the transfer; {difference} are left: a kind of movement that the summary does not show, or an error in the sweep: {detail}',
       'send the sweep''s id and the figures to PayVyne'),
      ('balance_residual', 'payvyne', 'R2',
       'the sweep transferred {difference} more or less than its balance above the reserve: the reserve was changed, or the transfer was cut: {detail}',
       'compare with the reserve set in the portal and with the credit at the bank'),
      ('balance_residual', 'payvyne', 'R5',
       'the account did not open with what the sweep before had left; {difference} lie between: most likely a sweep that was not listed: {detail}',
       'ask PayVyne for the sweeps of this account between the two; what moved in them is missing here, too'),
      ('balance_residual', 'payvyne', 'R6',
       'transactions stand in two sweeps, or the sweep mixes currencies: {detail}',
       'send the sweep''s id to PayVyne; nothing is to be booked twice'),
      ('balance_residual', 'payvyne', 'R7',
       'more was refunded for this payment than it had brought in, by {difference}: {detail}',
       'claim {difference} back from the payer, or ask PayVyne which refund is wrong'),
      ('balance_residual', 'tupay', 'R1',
       'the day''s net amount is not the sum of the day''s own columns; {difference} are left: a movement that no column of the report shows: {detail}',
       'send the day and the figures to TuPay'),
      ('balance_residual', 'tupay', 'R2',
       'the day''s closing balance does not follow from the day before and the day''s net amount; {difference} are left: a late correction of one of the days, or a day missing from the report: {detail}',
       'ask TuPay for the report of both days again and for corrections booked since'),
      ('balance_residual', 'tupay', 'R3',
       'available balance and the balance in settlement do not come to the total; {difference} are left: {detail}',
       'send the figures to TuPay; the balance of the moment may be right again tomorrow'),
      ('balance_residual', 'tupay', 'R4',
       'usable balance and rolling reserve do not come to the total; {difference} are left: {detail}',
       'send the figures to TuPay; the balance of the moment may be right again tomorrow'),
      ('balance_residual', 'tupay', 'R5',
       'the day''s deposits or their fees in the report differ from the deposits listed, by {difference}; TuPay does not say by which day and zone it dates a deposit, so a deposit near midnight can cause it: {detail}',
       'look at the days before and after: if the difference comes back there with the other sign it is the day''s cut, else ask TuPay'),
      ('balance_residual', 'tupay', 'R6',
       'the day''s cashouts in the report differ from the cashouts listed, by {difference}: a cashout returned later, fees inside the total, or a day''s cut in another zone: {detail}',
       'look for a returned cashout of that day first, then ask TuPay'),
      ('balance_residual', 'tupay', 'R7',
       'the balance now is not the last reported day plus what moved since; {difference} are left: {detail}',
       'wait for the next day''s report; ask TuPay if it stays'),
      ('balance_residual', 'tupay', 'R8',
       'the payer sent another sum than was asked for ({difference} apart), and TuPay completed the deposit with what came: {detail}',
       'settle {difference} with the payer; the booked amount must be what came'),
      ('balance_residual', 'tupay', 'R9',
       'TuPay calls the cashout completed, but what it credited to the payee is not the amount of the cashout ({difference} apart): {detail}',
       'ask TuPay what the payee of {key} received'),
      ('balance_residual', 'one2pays', '',
       'the wallet moved by {difference} more or less than payments and withdraws explain; One2Pays shows fees nowhere, and its balance is read at night, hours after the day ended: {detail}',
       'compare with the fee invoice; ask One2Pays only for what is left after fees'),
      ('balance_residual', 'twopay', '',
       'the wallet moved by {difference} more or less than the records that were asked about: fees, a top-up, a settlement, or a transaction that the ledger does not know: {detail}',
       'look for {difference} in the TwoPay portal: TwoPay can only be asked about keys that the ledger holds'),
      ('settlement_mismatch', '', '',
       'the settlement differs from the sum of its members by {difference}: a member is missing from the list, or something was deducted without a line: {detail}',
       'ask {provider} for the lines of this settlement'),
      ('settlement_mismatch', 'payvyne', 'R3',
       'the sweep''s summary and the transactions listed under it differ for one kind: {detail}',
       'ask PayVyne for the missing row; if you book it before it is listed, its key must be the one that PayVyne will list'),
      ('settlement_mismatch', 'payvyne', 'R4',
       'the transactions listed under the sweep do not lead from its opening to its closing balance; {difference} are left: rows missing from the list, or rows that the balance does not know: {detail}',
       'compare with the sweep''s summary, and ask PayVyne for the row that is missing'),
      ('missing_in_bank', '', '',
       '{provider} says that {amount} were paid out to you, and the bank statement shows no such credit within three days: late, sent elsewhere, returned, or credited in another amount',
       'search the statement for the amount less bank charges; then ask {provider} for a trace'),
      ('missing_in_bank', 'payvyne', '',
       'PayVyne''s sweep transferred {amount} and the bank statement shows no such credit within three days: late, sent to another account, or returned',
       'check the destination account in the PayVyne portal, then ask PayVyne for a trace of sweep {key}'),
      ('missing_in_bank', 'tupay', '',
       'TuPay''s daily report settles {amount} to you and the bank statement shows no such credit within three days: late, returned, or credited less bank charges',
       'search the statement for the amount less bank charges, and the report for a cancelled settlement; then ask TuPay'),
      -- could not be read, asked or understood
      ('unclassified', '', 'provider',
       '{provider} uses a word that the settings do not name (`{word}`), so it is neither paid nor unpaid here',
       'name the word in the job''s settings; it is compared from the next run on'),
      ('unclassified', '', 'ledger',
       'the books use a status that the settings do not name (`{ours}`), so it is neither paid nor unpaid here',
       'name the word under [ledger.status]; it is compared from the next run on'),
      ('unclassified', 'ayoconnect', 'PARTIALLY REFUNDED',
       'Ayoconnect says that a part was refunded and does not say how much, so nothing can be compared',
       'find the refund order of {key}, and book its amount'),
      ('unreadable', '', 'page',
       'a row of {provider}s answer could not be read exactly; it was put aside and its value was not guessed',
       'send `evidence` to {provider} and to whoever runs this program; the row is missing from every sum until it can be read'),
      ('unreadable', '', 'file',
       'a line of the file could not be read exactly; it was put aside and its value was not guessed',
       'correct the line at its source; `evidence` names file, line and column'),
      ('incomplete_window', '', '',
       '{provider} was not read to its end here; nothing is called missing at the provider where this gap could hold it: {detail}',
       'none at first: the next run reads it again; if it stays, whoever runs this program must look'),
      ('lookup_failed', '', '',
       '{provider} was asked about this key and gave no usable answer; that says nothing about the payment: {detail}',
       'none at first: it is asked again every night; if it stays, ask {provider} about {key}, and acknowledge it: until then every night is incomplete for its sake'),
      ('lookup_failed', 'ayoconnect', '',
       'Ayoconnect was asked about this key and gave no usable answer; a time-out or an error there does not mean that the payment failed: {detail}',
       'none at first: it is asked again every night; never debit again on the strength of this'),
      ('not_checkable', '', '',
       '{provider} answers only by a key that this entry lacks or holds in a wrong form, so nobody could ask: the request died before the key was known, or the key was not booked',
       'enter the key in the books; without one, search {provider} by hand for {amount}'),
      ('not_checkable', 'ayoconnect', '',
       'Ayoconnect answers only by a key (X-EXTERNAL-ID in generation 2, reference_no in generation 3) that this entry lacks or holds in a wrong form; a request that died has none',
       'enter the key in the books; without one, ask Ayoconnect about {amount}'),
      -- whatever the flavour is
      ('missing_in_ledger', '', '',
       '{provider} moved {amount} and the books have no entry under this key',
       'book {amount} under {key}'),
      ('missing_in_provider', '', '',
       'booked, but {provider} shows nothing under this key',
       'search {provider} for {key} and for {amount}; if neither is known there, reverse the booking'),
      ('amount_mismatch', '', '',
       'both sides know it with different amounts, {difference} apart',
       'find out which amount is right, and correct the other side'),
      ('direction_mismatch', '', '',
       'the money moved one way at {provider} and is booked the other way',
       'correct the direction of the entry'),
      ('fee_mismatch', '', '',
       '{provider} charged another fee than was booked, {difference} apart',
       'book the fee as charged, or claim it under the contract'),
      ('status_mismatch', '', '',
       'the books say `{ours}` and {provider} says `{word}`: a late or lost notification, or a status that was not carried over',
       'bring the entry in line with {provider}, and look for the lost notification'),
      ('reversed_after_booking', '', '',
       'settled and booked, then taken back by {provider} (`{word}`)',
       'book the reversal of {amount}; it closes by itself then'),
      ('duplicate_in_provider', '', '',
       '{provider} has a second settled record under this key',
       'refund one of the two, or book the second one'),
      ('unclassified', '', '',
       'a status or type that the settings do not name, so it is neither paid nor unpaid here',
       'name the word in the job''s settings; it is compared from the next run on'),
      ('unreadable', '', '',
       'a row could not be read exactly; it was put aside and its value was not guessed',
       'correct the row at its source; `evidence` names the place')
  ),
  -- The names that people know the providers by.
  named (provider, name) AS (
    VALUES ('payvyne', 'PayVyne'), ('tupay', 'TuPay'), ('one2pays', 'One2Pays'), ('twopay', 'TwoPay'), ('ayoconnect', 'Ayoconnect')
  ),
  -- Each combination that occurs, with the sentence that names it most closely: first the provider, then the flavour. What
  -- is the same for all its rows is filled in here.
  closest AS (
    SELECT c.kind, c.provider, c.flavour,
           replace(w.cause, '{provider}', coalesce(named.name, nullif(c.provider, ''), 'the provider')) AS cause,
           replace(replace(w.action, '{job}', :job),
             '{provider}', coalesce(named.name, nullif(c.provider, ''), 'the provider')) AS action,
           row_number() OVER (PARTITION BY c.kind, c.provider, c.flavour
                              ORDER BY w.provider = '', w.flavour = '') AS place
      FROM (SELECT DISTINCT kind, provider, flavour FROM ranked) AS c
      JOIN wording AS w ON w.kind = c.kind AND w.provider IN ('', c.provider) AND w.flavour IN ('', c.flavour)
      LEFT JOIN named ON named.provider = c.provider
  ),
  -- Which of the values that most sentences have stand in them, and whether there are others: a value that no sentence asks
  -- for is not looked for in a million of them.
  told AS MATERIALIZED (
    SELECT kind, provider, flavour, cause, action,
           iif(instr(cause, '{amount}'), '{amount}', '') AS cause_amount,
           iif(instr(cause, '{difference}'), '{difference}', '') AS cause_difference,
           iif(instr(cause, '{key}'), '{key}', '') AS cause_key,
           instr(replace(replace(replace(cause, '{amount}', ''), '{difference}', ''), '{key}', ''), '{') > 0 AS cause_others,
           iif(instr(action, '{amount}'), '{amount}', '') AS action_amount,
           iif(instr(action, '{difference}'), '{difference}', '') AS action_difference,
           iif(instr(action, '{key}'), '{key}', '') AS action_key,
           instr(replace(replace(replace(action, '{amount}', ''), '{difference}', ''), '{key}', ''), '{') > 0 AS action_others
      FROM closest WHERE place = 1
  )
SELECT d.discrepancy_id,
       status,
       d.kind,
       priority,
       job,
       d.provider,
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
         WHEN told.cause IS NULL THEN 'not described'
         WHEN told.cause_others THEN replace(replace(replace(replace(replace(replace(replace(replace(told.cause,
           '{amount}', coalesce(ltrim(coalesce(provider_amount, ledger_amount), '-') || ' ' || currency, 'it')),
           '{difference}', coalesce(ltrim(difference, '-') || ' ' || currency, 'the difference')),
           '{currency}', coalesce(currency, 'another currency')),
           '{ledger_id}', coalesce(ledger_id, 'this entry')),
           '{word}', coalesce(provider_status, 'nothing')),
           '{ours}', coalesce(ledger_status, 'nothing')),
           '{key}', coalesce(nullif(reference, ''), provider_id, ledger_id, 'it')),
           '{detail}', iif(d.kind IN ('balance_residual', 'settlement_mismatch'), substr(detail, instr(detail, ': ') + 2), detail))
         ELSE replace(replace(replace(told.cause,
           told.cause_amount, iif(told.cause_amount = '', '', coalesce(ltrim(coalesce(provider_amount, ledger_amount), '-') || ' ' || currency, 'it'))),
           told.cause_difference, iif(told.cause_difference = '', '', coalesce(ltrim(difference, '-') || ' ' || currency, 'the difference'))),
           told.cause_key, coalesce(nullif(reference, ''), provider_id, ledger_id, 'it'))
       END AS likely_cause,
       CASE
         WHEN status = 'resolved' THEN 'none'
         WHEN told.action IS NULL THEN 'look at both sides'
         WHEN told.action_others THEN replace(replace(replace(replace(replace(replace(replace(told.action,
           '{amount}', coalesce(ltrim(coalesce(provider_amount, ledger_amount), '-') || ' ' || currency, 'it')),
           '{difference}', coalesce(ltrim(difference, '-') || ' ' || currency, 'the difference')),
           '{currency}', coalesce(currency, 'another currency')),
           '{ledger_id}', coalesce(ledger_id, 'this entry')),
           '{word}', coalesce(provider_status, 'nothing')),
           '{ours}', coalesce(ledger_status, 'nothing')),
           '{key}', coalesce(nullif(reference, ''), provider_id, ledger_id, 'it'))
         ELSE replace(replace(replace(told.action,
           told.action_amount, iif(told.action_amount = '', '', coalesce(ltrim(coalesce(provider_amount, ledger_amount), '-') || ' ' || currency, 'it'))),
           told.action_difference, iif(told.action_difference = '', '', coalesce(ltrim(difference, '-') || ' ' || currency, 'the difference'))),
           told.action_key, coalesce(nullif(reference, ''), provider_id, ledger_id, 'it'))
       END AS suggested_action,
       suggested_match,
       evidence,
       owner,
       decision,
       note
  FROM ranked CROSS JOIN discrepancies AS d ON d.rowid = ranked.row
  LEFT JOIN told ON told.kind = ranked.kind AND told.provider = ranked.provider AND told.flavour = ranked.flavour
 ORDER BY status = 'acknowledged', priority, majors, thousandths, age_days DESC, d.discrepancy_id;
