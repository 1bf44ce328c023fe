-- Which figures are not what the pages say?
-- ?1 job; `books` is the stored side, `main` the rebuilt one. Columns: row, what. Equal rows are counted, so that a row too
-- many is seen as well.
WITH stored AS (
       SELECT account, feed, subject, as_of, currency, item, amount_minor, seen_at, superseded_at, page_id, page_row, count(*) AS times
         FROM books.balances WHERE job = ?1
        GROUP BY account, feed, subject, as_of, currency, item, amount_minor, seen_at, superseded_at, page_id, page_row),
     rebuilt AS (
       SELECT account, feed, subject, as_of, currency, item, amount_minor, seen_at, superseded_at, page_id, page_row, count(*) AS times
         FROM main.balances WHERE job = ?1
        GROUP BY account, feed, subject, as_of, currency, item, amount_minor, seen_at, superseded_at, page_id, page_row)
SELECT feed || ' ' || iif(subject = '', '', subject || ' ') || item || ' ' || currency || ' as of ' || as_of AS row, 'is stored but stands so on no page' AS what
  FROM (SELECT * FROM stored EXCEPT SELECT * FROM rebuilt)
UNION ALL
SELECT feed || ' ' || iif(subject = '', '', subject || ' ') || item || ' ' || currency || ' as of ' || as_of, 'stands so on a page but is not stored'
  FROM (SELECT * FROM rebuilt EXCEPT SELECT * FROM stored);
