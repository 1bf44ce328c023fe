-- Which stored records are not what the pages say?
-- ?1 job; `books` is the stored side, `main` the rebuilt one. Columns: row, what.
SELECT s.feed || ' ' || iif(s.subject = '', '', s.subject || ' ') || s.provider_id AS row,
       'differs in' ||
       iif(s.provider IS NOT r.provider, ' provider', '') ||
       iif(s.reference IS NOT r.reference, ' reference', '') ||
       iif(s.related_id IS NOT r.related_id, ' related_id', '') ||
       iif(s.direction IS NOT r.direction, ' direction', '') || iif(s.kind IS NOT r.kind, ' kind', '') ||
       iif(s.currency IS NOT r.currency, ' currency', '') ||
       iif(s.amount_minor IS NOT r.amount_minor, ' amount_minor', '') ||
       iif(s.fee_minor IS NOT r.fee_minor, ' fee_minor', '') ||
       iif(s.fee_currency IS NOT r.fee_currency, ' fee_currency', '') ||
       iif(s.fee_from_rows IS NOT r.fee_from_rows, ' fee_from_rows', '') ||
       iif(s.reference_from_detail IS NOT r.reference_from_detail, ' reference_from_detail', '') ||
       iif(s.status IS NOT r.status, ' status', '') || iif(s.is_final IS NOT r.is_final, ' is_final', '') ||
       iif(s.provider_status IS NOT r.provider_status, ' provider_status', '') ||
       iif(s.occurred_at IS NOT r.occurred_at, ' occurred_at', '') ||
       iif(s.changed_at IS NOT r.changed_at, ' changed_at', '') ||
       iif(s.business_day IS NOT r.business_day, ' business_day', '') ||
       iif(s.residuals IS NOT r.residuals, ' residuals', '') || iif(s.version IS NOT r.version, ' version', '') ||
       iif(s.first_seen_at IS NOT r.first_seen_at, ' first_seen_at', '') ||
       iif(s.seen_at IS NOT r.seen_at, ' seen_at', '') ||
       iif(s.vanished_at IS NOT r.vanished_at, ' vanished_at', '') ||
       iif(s.page_id IS NOT r.page_id, ' page_id', '') || iif(s.page_row IS NOT r.page_row, ' page_row', '') AS what
  FROM books.transactions AS s JOIN main.transactions AS r
    ON r.job = s.job AND r.feed = s.feed AND r.account = s.account AND r.provider_id = s.provider_id
   AND r.subject = s.subject
 WHERE s.job = ?1 AND s.page_id IS NOT NULL
   AND (s.provider, s.reference, s.related_id, s.direction, s.kind, s.currency, s.amount_minor, s.fee_minor,
        s.fee_currency, s.fee_from_rows, s.reference_from_detail, s.status, s.is_final, s.provider_status, s.occurred_at, s.changed_at,
        s.business_day, s.residuals, s.version, s.first_seen_at, s.seen_at, s.vanished_at, s.page_id, s.page_row)
IS NOT (r.provider, r.reference, r.related_id, r.direction, r.kind, r.currency, r.amount_minor, r.fee_minor,
        r.fee_currency, r.fee_from_rows, r.reference_from_detail, r.status, r.is_final, r.provider_status, r.occurred_at, r.changed_at,
        r.business_day, r.residuals, r.version, r.first_seen_at, r.seen_at, r.vanished_at, r.page_id, r.page_row)
UNION ALL
SELECT s.feed || ' ' || iif(s.subject = '', '', s.subject || ' ') || s.provider_id, 'is stored but stands on no page'
  FROM books.transactions AS s
 WHERE s.job = ?1 AND s.page_id IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM main.transactions AS r
     WHERE r.job = s.job AND r.feed = s.feed AND r.account = s.account AND r.provider_id = s.provider_id
   AND r.subject = s.subject)
UNION ALL
SELECT s.feed || ' ' || iif(s.subject = '', '', s.subject || ' ') || s.provider_id, 'stands on a page but is not stored'
  FROM main.transactions AS s
 WHERE NOT EXISTS (
    SELECT 1 FROM books.transactions AS r
     WHERE r.job = s.job AND r.feed = s.feed AND r.account = s.account AND r.provider_id = s.provider_id
   AND r.subject = s.subject);
