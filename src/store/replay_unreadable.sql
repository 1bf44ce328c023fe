-- Which rows put aside are not what the pages say?
-- ?1 job; `books` is the stored side, `main` the rebuilt one. Columns: row, what. Equal rows are counted, so that a row too
-- many is seen as well.
WITH stored AS (
       SELECT feed, page_id, place, reason, seen_at, gone_at, count(*) AS times
         FROM books.unreadable_rows WHERE job = ?1 AND page_id IS NOT NULL
        GROUP BY feed, page_id, place, reason, seen_at, gone_at),
     rebuilt AS (
       SELECT feed, page_id, place, reason, seen_at, gone_at, count(*) AS times
         FROM main.unreadable_rows WHERE job = ?1 AND page_id IS NOT NULL
        GROUP BY feed, page_id, place, reason, seen_at, gone_at)
SELECT feed || ' page ' || page_id || ' ' || place AS row, 'is stored but stands so on no page' AS what
  FROM (SELECT * FROM stored EXCEPT SELECT * FROM rebuilt)
UNION ALL
SELECT feed || ' page ' || page_id || ' ' || place, 'stands so on a page but is not stored'
  FROM (SELECT * FROM rebuilt EXCEPT SELECT * FROM stored);
