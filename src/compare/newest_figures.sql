-- The newest figures of a feed: the last answer of each account and subject. Goes from place to place through the index, so
-- that the history in between is not read.
WITH RECURSIVE place (account, subject) AS (
  SELECT * FROM (SELECT account, subject FROM balances
                  WHERE job = ?1 AND feed = ?2 AND superseded_at IS NULL ORDER BY account, subject LIMIT 1)
  UNION ALL
  SELECT n.account, n.subject
    FROM place CROSS JOIN balances AS n ON n.balance_id = coalesce(
           (SELECT b.balance_id FROM balances AS b
             WHERE b.job = ?1 AND b.feed = ?2 AND b.superseded_at IS NULL
               AND b.account = place.account AND b.subject > place.subject
             ORDER BY b.subject LIMIT 1),
           (SELECT b.balance_id FROM balances AS b
             WHERE b.job = ?1 AND b.feed = ?2 AND b.superseded_at IS NULL AND b.account > place.account
             ORDER BY b.account, b.subject LIMIT 1))
)
SELECT b.account, b.subject, b.as_of, b.currency, b.item, b.amount_minor
  FROM place CROSS JOIN balances AS b ON b.job = ?1 AND b.feed = ?2 AND b.superseded_at IS NULL
   AND b.account = place.account AND b.subject = place.subject
   AND b.as_of = (SELECT max(l.as_of) FROM balances AS l
                   WHERE l.job = ?1 AND l.feed = ?2 AND l.superseded_at IS NULL
                     AND l.account = place.account AND l.subject = place.subject)
 ORDER BY b.account, b.subject, b.as_of, b.currency, b.item
