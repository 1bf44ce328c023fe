-- Which references were settled at two providers?
-- Parameters: :jobs (JSON list of job names)
-- Columns: transaction_id, job; the records of one reference stand together, the oldest first
SELECT a.transaction_id, a.job
  FROM json_each(:jobs) AS j
  JOIN transactions AS a ON a.job = j.value
 WHERE a.status = 'settled' AND a.vanished_at IS NULL AND a.kind <> 'fee' AND a.reference <> ''
   AND EXISTS (SELECT 1
                 FROM json_each(:jobs) AS other
                 JOIN transactions AS b ON b.job = other.value AND b.direction = a.direction AND b.reference = a.reference
                WHERE other.value <> a.job AND b.status = 'settled' AND b.vanished_at IS NULL AND b.kind <> 'fee')
 ORDER BY a.direction, a.reference, coalesce(a.occurred_at, a.changed_at, a.first_seen_at), a.job, a.transaction_id
