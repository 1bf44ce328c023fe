-- The proof: does every day of every account add up, from the opening to the closing balance?
--
-- Parameters: :job, :business_day. The last 35 days up to the business day, where the provider states balances; every day in
-- the form that an auditor reads:
--
--   opening            as stated; `explanation` says whether it is the closing of the day before
--   in, out, fee       what moved, by kind, signed; money in first, then money out, fees last
--   computed closing   opening and everything that moved
--   closing            as stated
--   residual           closing less computed closing: what stays unexplained, 0.00 when all is explained. `explanation`
--                      names the one row that was lost where exactly one fits, and says so where none or several do
--   advisory           a check whose rules the provider does not document; no part of the proof
WITH
  mine AS MATERIALIZED (
    SELECT account, currency, business_day, position, line, amount_minor, amount, source, explanation,
           CASE
             WHEN line IN ('opening', 'closing', 'residual') THEN line
             WHEN line LIKE 'advisory %' THEN 'advisory'
             WHEN line = 'fee' THEN 'fee'
             WHEN amount_minor < 0 THEN 'out'
             ELSE 'in'
           END AS section
      FROM v_statement
     WHERE job = :job
       AND business_day > date(:business_day, '-35 days')
       AND business_day <= :business_day
  ),
  -- What the lines come to: the stated closing less what is left.
  computed AS (
    SELECT c.account, c.currency, c.business_day, c.amount_minor - r.amount_minor AS minor
      FROM mine AS c
      JOIN mine AS r ON (r.account, r.currency, r.business_day) = (c.account, c.currency, c.business_day) AND r.line = 'residual'
     WHERE c.line = 'closing'
  ),
  lines AS (
    SELECT account, currency, business_day, section, position, line, amount, source, explanation FROM mine
    UNION ALL
    SELECT account, currency, business_day, 'computed', 0, 'computed closing',
           CASE
             WHEN currency IN ('BIF','CLP','DJF','GNF','ISK','JPY','KMF','KRW','PYG','RWF','UGX','UYI','VND','VUV','XAF','XOF','XPF') THEN CAST(minor AS TEXT)
             WHEN currency IN ('BHD','IQD','JOD','KWD','LYD','OMR','TND') THEN printf('%s%d.%03d', iif(minor < 0, '-', ''), abs(minor / 1000), abs(minor % 1000))
             WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(minor < 0, '-', ''), abs(minor / 10000), abs(minor % 10000))
             ELSE printf('%s%d.%02d', iif(minor < 0, '-', ''), abs(minor / 100), abs(minor % 100))
           END,
           'opening and lines', ''
      FROM computed
  ),
  ordered AS (
    SELECT *,
           CASE section WHEN 'opening' THEN 0 WHEN 'in' THEN 1 WHEN 'out' THEN 2 WHEN 'fee' THEN 3 WHEN 'computed' THEN 4
                        WHEN 'closing' THEN 5 WHEN 'residual' THEN 6 ELSE 7 END AS rank
      FROM lines
  )
SELECT :job AS job,
       account,
       currency,
       business_day,
       row_number() OVER (PARTITION BY account, currency, business_day ORDER BY rank, position) - 1 AS position,
       line,
       amount,
       source,
       section,
       explanation
  FROM ordered
 ORDER BY account, currency, business_day, rank, position;
