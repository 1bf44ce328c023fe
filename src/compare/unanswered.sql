-- Which keys of the ledger were asked about without a usable answer?
-- Parameters: :job, :until (first instant after the last business day)
-- Columns: feed, subject, reason
SELECT w.feed, w.subject, w.reason
  FROM windows AS w
 WHERE w.job = :job AND w.subject <> '' AND w.state <> 'sealed' AND w.reason IS NOT NULL AND w.from_at < :until
 ORDER BY w.feed, w.subject
