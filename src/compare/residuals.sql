-- Which records do not close in themselves?
-- Parameters: :job
-- Columns: transaction_id, residuals (JSON)
SELECT t.transaction_id, t.residuals
  FROM transactions AS t INDEXED BY transactions_with_residuals
 WHERE t.job = :job AND t.residuals IS NOT NULL AND t.residuals <> '[]' AND t.vanished_at IS NULL
 ORDER BY t.transaction_id
