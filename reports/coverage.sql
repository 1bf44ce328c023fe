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
  since AS (SELECT strftime('%Y-%m-%dT%H:%M:%fZ', :as_of, '-35 days') AS at),
  unsealed AS MATERIALIZED (
    SELECT feed, min(from_at) AS from_at FROM v_coverage WHERE job = :job AND state <> 'sealed' GROUP BY feed
  ),
  listed AS (
    SELECT feed, '' AS subject, min(from_at) AS from_at, max(until_at) AS until_at, 'sealed' AS state,
           count(*) AS windows, sum(pages) AS pages, sum(rows) AS rows, min(sealed_at) AS sealed_at, NULL AS reason
      FROM v_coverage
     WHERE job = :job AND state = 'sealed' AND until_at <= (SELECT at FROM since)
     GROUP BY feed
    UNION ALL
    -- Apart from each other, so that each finds its own windows.
    SELECT feed, subject, from_at, until_at, state, 1, pages, rows, sealed_at, reason
      FROM v_coverage
     WHERE job = :job AND state = 'sealed' AND until_at > (SELECT at FROM since)
    UNION ALL
    SELECT feed, subject, from_at, until_at, state, 1, pages, rows, sealed_at, reason
      FROM v_coverage
     WHERE job = :job AND state <> 'sealed'
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
       (SELECT u.from_at FROM unsealed AS u WHERE u.feed = listed.feed) AS oldest_unsealed,
       reason
  FROM listed
 ORDER BY feed, from_at, subject, windows DESC;
