-- Which records were listed once and are not listed any more, by a complete reading?
-- Parameters: :job
-- Columns: transaction_id
SELECT t.transaction_id
  FROM transactions AS t INDEXED BY transactions_vanished
 WHERE t.job = :job AND t.vanished_at IS NOT NULL
 ORDER BY t.transaction_id
