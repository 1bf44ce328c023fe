-- Which transfers to the merchant's own bank did other jobs' providers state?
-- Parameters: :job (the bank's)
-- Columns: job, account, feed, subject, as_of, currency, item, amount_minor (without sign), provider
-- A sweep's transferred amount, a day's settlements: both are money that must arrive as one credit.
SELECT b.job, b.account, b.feed, b.subject, b.as_of, b.currency, b.item, abs(b.amount_minor) AS amount_minor,
       (SELECT t.provider FROM transactions AS t WHERE t.job = b.job LIMIT 1) AS provider
  FROM balances AS b
 WHERE b.job <> :job AND b.superseded_at IS NULL AND b.amount_minor <> 0
   AND b.item IN ('transferred_amount', 'settlement_total')
 ORDER BY b.currency, amount_minor, b.as_of, b.job, b.account, b.feed, b.subject
