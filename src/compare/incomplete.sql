-- Which windows were begun and not read to their end?
-- Parameters: :job, :until (first instant after the last business day)
-- Columns: feed, subject, from_at, until_at, state, reason
SELECT w.feed, w.subject, w.from_at, w.until_at, w.state, w.reason
  FROM windows AS w
 WHERE w.job = :job AND w.state <> 'sealed' AND w.from_at < :until
 ORDER BY w.feed, w.from_at, w.subject
