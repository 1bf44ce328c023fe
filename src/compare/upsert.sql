-- Stores one discrepancy. What it was found with first (first_seen_day, the day it is about when its rows name none) stays.
INSERT INTO discrepancies (
  discrepancy_id, job, identity, kind, state, provider, account, direction, reference, provider_id, ledger_id, currency,
  provider_amount_minor, ledger_amount_minor, difference_minor, provider_status, ledger_status, occurred_at, booked_at,
  business_day, first_seen_day, last_seen_day, resolved_day, age_days, what_differs, detail, evidence, suggested_match,
  closed_day)
VALUES (
  :id, :job, :identity, :kind, :state, :provider, :account, :direction, :reference, :provider_id, :ledger_id, :currency,
  :provider_amount, :ledger_amount, :difference, :provider_status, :ledger_status, :occurred_at, :booked_at,
  coalesce(:business_day, :today), :today, :today, :resolved_day, 0, :what_differs, :detail, :evidence, :suggested_match,
  :closed_day)
ON CONFLICT (discrepancy_id) DO UPDATE SET
  kind = excluded.kind, state = excluded.state, provider = excluded.provider, account = excluded.account,
  direction = excluded.direction, reference = excluded.reference, provider_id = excluded.provider_id,
  ledger_id = excluded.ledger_id, currency = excluded.currency, provider_amount_minor = excluded.provider_amount_minor,
  ledger_amount_minor = excluded.ledger_amount_minor, difference_minor = excluded.difference_minor,
  provider_status = excluded.provider_status, ledger_status = excluded.ledger_status, occurred_at = excluded.occurred_at,
  booked_at = excluded.booked_at, business_day = coalesce(:business_day, business_day),
  last_seen_day = max(last_seen_day, excluded.last_seen_day), resolved_day = excluded.resolved_day,
  age_days = CAST(julianday(max(last_seen_day, excluded.last_seen_day)) - julianday(first_seen_day) AS INTEGER),
  what_differs = excluded.what_differs, detail = excluded.detail, evidence = excluded.evidence,
  suggested_match = excluded.suggested_match, closed_day = excluded.closed_day
