-- How many items of which kind, in which currency, and how did the number of open ones change tonight?
--
-- Parameters: :job, :business_day, :run_id. One row per currency and kind that has anything to say; currencies are never
-- added up. `matched`, `pending` and `excluded` are no discrepancies: they have a count and the sum of provider amounts.
--
-- count       items now: open discrepancies, matched pairs, pending or excluded items
-- difference  sum of provider - ledger over the open ones; none across currencies (currency_mismatch), nor beyond 64 bits
-- amount      sum of the provider's amounts (matched and pending); none beyond 64 bits
-- open        previous_open + new + reopened - resolved
SELECT :job AS job,
       :business_day AS business_day,
       currency,
       kind,
       count,
       iif(item, NULL, total) AS difference,
       iif(kind IN ('matched', 'pending'), total, NULL) AS amount,
       iif(item, NULL, previous_open) AS previous_open,
       iif(item, NULL, new) AS new,
       iif(item, NULL, reopened) AS reopened,
       iif(item, NULL, resolved) AS resolved,
       iif(item, NULL, count) AS open
  FROM (SELECT c.*,
               c.kind IN ('matched', 'pending', 'excluded') AS item,
               CASE
                 WHEN currency = '' OR kind = 'currency_mismatch' OR difference_minor IS NULL THEN NULL
                 WHEN currency IN ('BIF','CLP','DJF','GNF','ISK','JPY','KMF','KRW','PYG','RWF','UGX','UYI','VND','VUV','XAF','XOF','XPF') THEN CAST(difference_minor AS TEXT)
                 WHEN currency IN ('BHD','IQD','JOD','KWD','LYD','OMR','TND') THEN printf('%s%d.%03d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 1000), abs(difference_minor % 1000))
                 ELSE printf('%s%d.%02d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 100), abs(difference_minor % 100))
               END AS total
          FROM run_counts AS c
         WHERE c.run_id = :run_id)
 ORDER BY currency,
          CASE kind WHEN 'matched' THEN 0 WHEN 'pending' THEN 1 WHEN 'excluded' THEN 2 ELSE 3 END,
          kind;
