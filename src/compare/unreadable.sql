-- Which rows were put aside and are still unreadable?
-- Parameters: :job
-- Columns: feed, subject, from_at (of the window), number (of the page), source (file), place, reason
SELECT u.feed, w.subject, w.from_at, p.number, u.source, u.place, u.reason
  FROM unreadable_rows AS u
  LEFT JOIN pages AS p ON p.page_id = u.page_id
  LEFT JOIN windows AS w ON w.window_id = p.window
 WHERE u.job = :job AND u.gone_at IS NULL
 ORDER BY u.feed, w.from_at, w.subject, p.number, u.source, u.place, u.unreadable_id
