-- Which pairs were found equal, or within tolerance?
-- Parameters: :job
-- Columns: as the view `matches`
SELECT business_day, provider_id, reference, currency, amount_minor, source, source_line, difference_minor
  FROM matches
 WHERE job = :job
 ORDER BY business_day, reference, provider_id
