-- The proof: does every day of every account add up, from the opening to the closing balance?
--
-- Parameters: :job, :business_day. The last 35 days up to the business day, where the provider states balances. The line
-- `residual` is what stays unexplained: 0.00 when all is explained.
SELECT job,
       account,
       currency,
       business_day,
       position,
       line,
       amount,
       source
  FROM v_statement
 WHERE job = :job
   AND business_day > date(:business_day, '-35 days')
   AND business_day <= :business_day
 ORDER BY account, currency, business_day, position;
