-- What was read to its end, and what was not?
--
-- Parameters: :job, :as_of. One row per window of the last 35 days and per window that is not sealed, whatever its age;
-- older sealed windows of a feed are one row. `windows` says how many a row stands for: its sum counts each window once.
--
-- state           sealed: read to its end, the only proof of completeness; open: not read to its end; unstable: it moved
--                 while it was read, every time
-- sealed_at       as-of instant of the run that read it to its end last (of several windows the earliest)
-- oldest_unsealed beginning of the feed's oldest window that is not sealed; empty when there is none
WITH
  mine AS (
    SELECT *,
           state = 'sealed' AND until_at <= strftime('%Y-%m-%dT%H:%M:%fZ', :as_of, '-35 days') AS old,
           min(iif(state <> 'sealed', from_at, NULL)) OVER (PARTITION BY feed) AS oldest_unsealed
      FROM v_coverage
     WHERE job = :job
  ),
  listed AS (
    SELECT feed, '' AS subject, min(from_at) AS from_at, max(until_at) AS until_at, 'sealed' AS state,
           count(*) AS windows, sum(pages) AS pages, sum(rows) AS rows, min(sealed_at) AS sealed_at, oldest_unsealed,
           NULL AS reason
      FROM mine
     WHERE old
     GROUP BY feed, oldest_unsealed
    UNION ALL
    SELECT feed, subject, from_at, until_at, state, 1, pages, rows, sealed_at, oldest_unsealed, reason
      FROM mine
     WHERE NOT old
  )
SELECT :job AS job,
       feed,
       subject,
       from_at,
       until_at,
       state,
       windows,
       pages,
       rows,
       sealed_at,
       oldest_unsealed,
       reason
  FROM listed
 ORDER BY feed, from_at, subject, windows DESC;
