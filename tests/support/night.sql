-- A night with something of everything. Ids are plain so that expected files can be read.
INSERT INTO discrepancies (discrepancy_id, job, identity, kind, state, provider, account, direction, reference, provider_id,
  ledger_id, currency, provider_amount_minor, ledger_amount_minor, difference_minor, provider_status, ledger_status,
  occurred_at, booked_at, business_day, first_seen_day, last_seen_day, resolved_day, age_days, what_differs, detail,
  evidence, suggested_match, note) VALUES
('d000000000000001', 'tupay-pe', 'in:ORD-1', 'missing_in_ledger', 'open', 'tupay', '456', 'in', 'ORD-1', '900001', NULL, 'PEN', 12345678, NULL, 12345678,
 'COMPLETED', NULL, '2026-03-02T15:00:00.000Z', NULL, '2026-03-02', '2026-03-04', '2026-03-04', NULL, 0, 'entry: none -> 123456.78', 'no entry', 'deposits 2026-03-02, page 3, row 17', NULL, NULL),
('d000000000000002', 'tupay-pe', 'in:=HYPERLINK', 'amount_mismatch', 'open', 'tupay', '456', 'in', '=HYPERLINK("http://x","y")', '00012345678901234567890', 'L,"2"', 'PEN', 9000, 10000, -1000,
 'COMPLETED', 'done', '2026-03-02T16:00:00.000Z', '2026-03-02T16:05:00.000Z', '2026-03-02', '2026-03-04', '2026-03-04', NULL, 0, 'amount: 100.00 -> 90.00', 'amounts differ', 'deposits 2026-03-02, page 3, row 18; ledger.csv line 12', NULL, NULL),
('d000000000000003', 'tupay-pe', 'in:ORD-3', 'fee_mismatch', 'open', 'tupay', '456', 'in', 'ORD-3', '900003', 'L3', 'PEN', 5000, 5000, 0,
 'COMPLETED', 'done', '2026-02-01T16:00:00.000Z', '2026-02-01T16:05:00.000Z', '2026-02-01', '2026-02-02', '2026-03-04', NULL, 30, 'fee: 1.00 -> 1.50', 'fees differ', 'deposits 2026-02-01, page 0, row 1', NULL, NULL),
('d000000000000004', 'tupay-pe', 'out:ORD-4', 'missing_in_provider', 'open', 'tupay', '456', 'out', '-ORD-4', NULL, 'L4', 'USD', NULL, -25000, 25000,
 NULL, 'done', NULL, '2026-02-20T16:05:00.000Z', '2026-02-20', '2026-02-24', '2026-03-04', NULL, 8, 'record: -250.00 -> none', 'no record', 'ledger.csv line 40', NULL, NULL),
('d000000000000005', 'tupay-pe', 'in:ORD-5', 'status_mismatch', 'resolved', 'tupay', '456', 'in', 'ORD-5', '900005', 'L5', 'PEN', 700, 700, 0,
 'COMPLETED', 'done', '2026-03-01T16:00:00.000Z', '2026-03-01T16:05:00.000Z', '2026-03-01', '2026-03-02', '2026-03-03', '2026-03-04', 1, 'status: done -> PENDING', 'status', 'deposits 2026-03-01, page 1, row 1', NULL, NULL),
('d000000000000006', 'tupay-pe', 'R1:456:2026-03-03', 'balance_residual', 'acknowledged', 'tupay', '456', NULL, NULL, NULL, NULL, 'PEN', 500000, 494138, 5862,
 NULL, NULL, NULL, NULL, '2026-03-01', '2026-03-02', '2026-03-04', NULL, 2, 'deposit_total: 4941.38 -> 5000.00', 'tupay R1: stated - computed', 'balance_report 2026-03-01', NULL, 'known, ticket 4711'),
('d000000000000007', 'tupay-pe', 'in:ORD-7', 'currency_mismatch', 'open', 'tupay', '456', 'in', 'ORD-7', '900007', 'L7', 'PEN', 1000, 1000, NULL,
 'COMPLETED', 'done', '2026-03-02T16:00:00.000Z', '2026-03-02T16:05:00.000Z', '2026-03-02', '2026-03-01', '2026-03-04', NULL, 3, 'currency: USD -> PEN', 'currencies differ', 'deposits 2026-03-02, page 9, row 9', NULL, NULL),
('d000000000000008', 'tupay-pe', 'in:ORD-8', 'missing_in_ledger', 'resolved', 'tupay', '456', 'in', 'ORD-8', '900008', NULL, 'PEN', 100, NULL, 100,
 'COMPLETED', NULL, '2026-02-02T15:00:00.000Z', NULL, '2026-02-02', '2026-02-04', '2026-02-09', '2026-02-10', 5, 'entry: none -> 1.00', 'resolved long ago', 'deposits', NULL, NULL),
('d000000000000009', 'other-job', 'in:ORD-9', 'missing_in_ledger', 'open', 'tupay', '456', 'in', 'ORD-9', '900009', NULL, 'PEN', 100, NULL, 100,
 'COMPLETED', NULL, '2026-03-02T15:00:00.000Z', NULL, '2026-03-02', '2026-03-04', '2026-03-04', NULL, 0, 'entry: none -> 1.00', 'of another job', 'deposits', NULL, NULL);

INSERT INTO discrepancy_events (discrepancy_id, at, business_day, event, actor) VALUES
('d000000000000001', '2026-03-05T07:30:00.000Z', '2026-03-04', 'opened', 'run'),
('d000000000000002', '2026-03-05T07:30:00.000Z', '2026-03-04', 'opened', 'run'),
('d000000000000003', '2026-02-03T07:30:00.000Z', '2026-02-02', 'opened', 'run'),
('d000000000000004', '2026-02-25T07:30:00.000Z', '2026-02-24', 'opened', 'run'),
('d000000000000004', '2026-03-05T08:00:00.000Z', '2026-03-04', 'reopened', 'ana'),
('d000000000000005', '2026-03-03T07:30:00.000Z', '2026-03-02', 'opened', 'run'),
('d000000000000005', '2026-03-05T07:30:00.000Z', '2026-03-04', 'resolved', 'run'),
('d000000000000006', '2026-03-03T07:30:00.000Z', '2026-03-02', 'opened', 'run'),
('d000000000000006', '2026-03-03T09:00:00.000Z', '2026-03-02', 'acknowledged', 'ana'),
('d000000000000007', '2026-03-02T07:30:00.000Z', '2026-03-01', 'opened', 'run'),
('d000000000000007', '2026-03-03T07:30:00.000Z', '2026-03-02', 'resolved', 'run'),
('d000000000000007', '2026-03-05T07:30:00.000Z', '2026-03-04', 'reopened', 'run');

INSERT INTO run_counts (run_id, currency, kind, count, difference_minor, previous_open, new, reopened, resolved) VALUES
(7, 'PEN', 'matched', 4205, 99887766, 0, 0, 0, 0),
(7, 'JPY', 'matched', 2, 1500, 0, 0, 0, 0),
(7, 'PEN', 'pending', 2, 3000, 0, 0, 0, 0),
(7, 'PEN', 'excluded', 3, 0, 0, 0, 0, 0),
(7, 'PEN', 'missing_in_ledger', 1, 12345678, 0, 1, 0, 0),
(7, 'PEN', 'amount_mismatch', 1, -1000, 0, 1, 0, 0),
(7, 'PEN', 'fee_mismatch', 1, 0, 1, 0, 0, 0),
(7, 'USD', 'missing_in_provider', 1, 25000, 1, 0, 0, 0),
(7, 'PEN', 'status_mismatch', 0, 0, 1, 0, 0, 1),
(7, 'PEN', 'balance_residual', 1, 5862, 1, 0, 0, 0),
(7, 'PEN', 'currency_mismatch', 1, 0, 0, 0, 1, 0),
(6, 'PEN', 'matched', 1, 1, 0, 0, 0, 0);

INSERT INTO pending_items (job, identity, becomes_kind, becomes_day, currency, amount_minor) VALUES
('tupay-pe', 'in:ORD-20', 'missing_in_ledger', '2026-03-05', 'PEN', 1000),
('tupay-pe', 'in:ORD-21', 'missing_in_ledger', '2026-03-05', 'PEN', 2000);

INSERT INTO windows (window_id, job, feed, subject, from_at, until_at, state, sealed_at, pages, rows, reason) VALUES
(1, 'tupay-pe', 'deposits', '', '2026-01-01T05:00:00.000Z', '2026-01-02T05:00:00.000Z', 'sealed', '2026-01-03T07:30:00.000Z', 4, 390, NULL),
(2, 'tupay-pe', 'deposits', '', '2026-01-02T05:00:00.000Z', '2026-01-03T05:00:00.000Z', 'sealed', '2026-01-04T07:30:00.000Z', 5, 410, NULL),
(3, 'tupay-pe', 'deposits', '', '2026-03-03T05:00:00.000Z', '2026-03-04T05:00:00.000Z', 'sealed', '2026-03-05T07:30:00.000Z', 43, 4213, NULL),
(4, 'tupay-pe', 'deposits', '', '2026-03-04T05:00:00.000Z', '2026-03-05T05:00:00.000Z', 'unstable', NULL, 43, 4200, 'it moved three times'),
(5, 'tupay-pe', 'cashouts', '', '2026-03-04T05:00:00.000Z', '2026-03-05T05:00:00.000Z', 'sealed', '2026-03-05T07:30:00.000Z', 1, 12, NULL),
(6, 'other-job', 'deposits', '', '2026-03-04T05:00:00.000Z', '2026-03-05T05:00:00.000Z', 'open', NULL, 0, 0, 'of another job');

INSERT INTO statement_lines (job, account, currency, business_day, position, line, amount_minor, source) VALUES
('tupay-pe', '456', 'PEN', '2026-01-20', 1, 'opening', 1, 'balance_report, too old for the report'),
('tupay-pe', '456', 'PEN', '2026-03-03', 1, 'opening', 100000, 'balance_report'),
('tupay-pe', '456', 'PEN', '2026-03-03', 2, 'deposit', 400000, 'deposits'),
('tupay-pe', '456', 'PEN', '2026-03-03', 3, 'closing', 505862, 'balance_report'),
('tupay-pe', '456', 'PEN', '2026-03-03', 4, 'residual', 5862, 'stated - computed'),
('other-job', '456', 'PEN', '2026-03-03', 1, 'opening', 1, 'of another job');
UPDATE statement_lines SET explanation = 'one row of 58.62 is missing from the list of 2026-03-03: ORD-9 is booked (ledger.csv line 7) and not listed'
 WHERE job = 'tupay-pe' AND line = 'residual';
