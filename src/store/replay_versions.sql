-- Which superseded versions are not what the pages say?
-- ?1 job; `books` is the stored side, `main` the rebuilt one. Columns: row, what.
SELECT t.feed || ' ' || t.provider_id || ' version ' || s.version AS row,
       'differs in' ||
       iif(s.reference IS NOT r.reference, ' reference', '') ||
       iif(s.related_id IS NOT r.related_id, ' related_id', '') ||
       iif(s.direction IS NOT r.direction, ' direction', '') || iif(s.kind IS NOT r.kind, ' kind', '') ||
       iif(s.currency IS NOT r.currency, ' currency', '') ||
       iif(s.amount_minor IS NOT r.amount_minor, ' amount_minor', '') ||
       iif(s.fee_minor IS NOT r.fee_minor, ' fee_minor', '') ||
       iif(s.fee_currency IS NOT r.fee_currency, ' fee_currency', '') ||
       iif(s.status IS NOT r.status, ' status', '') || iif(s.is_final IS NOT r.is_final, ' is_final', '') ||
       iif(s.provider_status IS NOT r.provider_status, ' provider_status', '') ||
       iif(s.occurred_at IS NOT r.occurred_at, ' occurred_at', '') ||
       iif(s.changed_at IS NOT r.changed_at, ' changed_at', '') ||
       iif(s.residuals IS NOT r.residuals, ' residuals', '') || iif(s.seen_at IS NOT r.seen_at, ' seen_at', '') ||
       iif(s.page_id IS NOT r.page_id, ' page_id', '') || iif(s.page_row IS NOT r.page_row, ' page_row', '') AS what
  FROM books.superseded_versions AS s
  JOIN books.transactions AS t ON t.transaction_id = s.transaction_id
  JOIN main.transactions AS o
    ON o.job = t.job AND o.feed = t.feed AND o.account = t.account AND o.provider_id = t.provider_id
   AND o.subject = t.subject
  JOIN main.superseded_versions AS r ON r.transaction_id = o.transaction_id AND r.version = s.version
 WHERE t.job = ?1 AND t.page_id IS NOT NULL
   AND (s.reference, s.related_id, s.direction, s.kind, s.currency, s.amount_minor, s.fee_minor, s.fee_currency,
        s.status, s.is_final, s.provider_status, s.occurred_at, s.changed_at, s.residuals, s.seen_at, s.page_id,
        s.page_row)
IS NOT (r.reference, r.related_id, r.direction, r.kind, r.currency, r.amount_minor, r.fee_minor, r.fee_currency,
        r.status, r.is_final, r.provider_status, r.occurred_at, r.changed_at, r.residuals, r.seen_at, r.page_id,
        r.page_row)
UNION ALL
SELECT t.feed || ' ' || t.provider_id || ' version ' || s.version, 'is stored but stands on no page'
  FROM books.superseded_versions AS s JOIN books.transactions AS t USING (transaction_id)
 WHERE t.job = ?1 AND t.page_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM main.transactions AS o JOIN main.superseded_versions AS r USING (transaction_id)
     WHERE o.job = t.job AND o.feed = t.feed AND o.account = t.account AND o.provider_id = t.provider_id
   AND o.subject = t.subject AND r.version = s.version)
UNION ALL
SELECT t.feed || ' ' || t.provider_id || ' version ' || s.version, 'stands on a page but is not stored'
  FROM main.superseded_versions AS s JOIN main.transactions AS t USING (transaction_id)
 WHERE s.seen_at >= coalesce((SELECT done_at FROM books.upkeep WHERE what = 'versions_before'), '') -- older ones were pruned
   AND NOT EXISTS (
    SELECT 1 FROM books.transactions AS o JOIN books.superseded_versions AS r USING (transaction_id)
     WHERE o.job = t.job AND o.feed = t.feed AND o.account = t.account AND o.provider_id = t.provider_id
   AND o.subject = t.subject AND r.version = s.version);
