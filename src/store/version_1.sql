-- The first schema there ever was, without its comments: what upgrades begin with.
PRAGMA application_id = 1919247214;
PRAGMA user_version = 1;
CREATE TABLE runs (
  run_id       INTEGER PRIMARY KEY,
  job          TEXT    NOT NULL,
  as_of        TEXT    NOT NULL,
  business_day TEXT    NOT NULL,
  started_at   TEXT    NOT NULL,
  finished_at  TEXT,
  verdict      TEXT    CHECK (verdict IN ('reconciled', 'reconciled_with_pending', 'reconciled_with_warnings',
                                          'discrepancies', 'incomplete', 'not_reconciled', 'failed')),
  exit_code    INTEGER,
  message      TEXT,
  requests     INTEGER NOT NULL DEFAULT 0,
  pages        INTEGER NOT NULL DEFAULT 0,
  rows         INTEGER NOT NULL DEFAULT 0,
  unreadable   INTEGER NOT NULL DEFAULT 0,
  matched      INTEGER NOT NULL DEFAULT 0,
  pending      INTEGER NOT NULL DEFAULT 0,
  excluded     INTEGER NOT NULL DEFAULT 0,
  opened       INTEGER NOT NULL DEFAULT 0,
  reopened     INTEGER NOT NULL DEFAULT 0,
  resolved     INTEGER NOT NULL DEFAULT 0,
  open         INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX runs_by_job ON runs (job, business_day, run_id);
CREATE INDEX runs_by_day ON runs (business_day, job, run_id);
CREATE INDEX runs_by_start ON runs (started_at);
CREATE INDEX runs_not_finished ON runs (job) WHERE finished_at IS NULL;
CREATE TABLE windows (
  window_id    INTEGER PRIMARY KEY,
  job          TEXT    NOT NULL,
  feed         TEXT    NOT NULL,
  subject      TEXT    NOT NULL DEFAULT '',
  account      TEXT    NOT NULL DEFAULT '',
  from_at      TEXT    NOT NULL,
  until_at     TEXT    NOT NULL,
  state        TEXT    NOT NULL CHECK (state IN ('open', 'sealed', 'unstable')),
  sealed_at    TEXT,
  reading      INTEGER NOT NULL DEFAULT 1,
  begun_at     TEXT    NOT NULL DEFAULT '',
  pages        INTEGER NOT NULL DEFAULT 0,
  rows         INTEGER NOT NULL DEFAULT 0,
  shape        TEXT    NOT NULL DEFAULT '',
  reason       TEXT
) STRICT;
CREATE UNIQUE INDEX windows_by_span ON windows (job, feed, subject, from_at);
CREATE INDEX windows_not_sealed ON windows (job, feed) WHERE state <> 'sealed';
CREATE INDEX windows_by_end ON windows (job, until_at);
CREATE TABLE pages (
  page_id      INTEGER PRIMARY KEY,
  job          TEXT    NOT NULL,
  feed         TEXT    NOT NULL,
  window       INTEGER NOT NULL REFERENCES windows (window_id),
  number       INTEGER NOT NULL,
  fetched_at   TEXT    NOT NULL,
  as_of        TEXT    NOT NULL,
  request      TEXT    NOT NULL,
  http_status  INTEGER NOT NULL,
  body_sha256  TEXT    NOT NULL,
  body         BLOB    NOT NULL,
  chain        TEXT    NOT NULL
) STRICT;
CREATE INDEX pages_by_window ON pages (window, number);
CREATE TABLE tombstones (
  page_id        INTEGER PRIMARY KEY REFERENCES pages (page_id),
  body_sha256    TEXT NOT NULL,
  request_sha256 TEXT NOT NULL,
  erased_at      TEXT NOT NULL
) STRICT;
CREATE TABLE erased_subjects (
  digest      TEXT PRIMARY KEY,
  fingerprint INTEGER NOT NULL,
  bytes       INTEGER NOT NULL,
  erased_at   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE upkeep (
  what    TEXT PRIMARY KEY,
  done_at TEXT NOT NULL,
  result  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE readings (
  window_id    INTEGER NOT NULL REFERENCES windows (window_id),
  reading      INTEGER NOT NULL,
  pass         INTEGER NOT NULL,
  position     INTEGER NOT NULL,
  number       INTEGER NOT NULL,
  confirms     INTEGER NOT NULL DEFAULT 0,
  page_id      INTEGER NOT NULL REFERENCES pages (page_id),
  PRIMARY KEY (window_id, reading, pass, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE seals (
  seal_id      INTEGER PRIMARY KEY,
  window_id    INTEGER NOT NULL REFERENCES windows (window_id),
  reading      INTEGER NOT NULL,
  pass         INTEGER NOT NULL,
  from_at      TEXT    NOT NULL,
  until_at     TEXT    NOT NULL,
  state        TEXT    NOT NULL CHECK (state IN ('sealed', 'unstable')),
  as_of        TEXT    NOT NULL
) STRICT;
CREATE INDEX seals_by_window ON seals (window_id, seal_id);
CREATE TABLE transactions (
  transaction_id INTEGER PRIMARY KEY,
  job            TEXT    NOT NULL,
  provider       TEXT    NOT NULL,
  account        TEXT    NOT NULL,
  feed           TEXT    NOT NULL,
  subject        TEXT    NOT NULL DEFAULT '',
  provider_id    TEXT    NOT NULL,
  reference      TEXT,
  related_id     TEXT,
  direction      TEXT    NOT NULL CHECK (direction IN ('in', 'out')),
  kind           TEXT    NOT NULL,
  currency       TEXT    NOT NULL CHECK (length(currency) = 3),
  amount_minor   INTEGER NOT NULL,
  fee_minor      INTEGER,
  fee_currency   TEXT,
  reference_from_detail INTEGER NOT NULL DEFAULT 0,
  fee_from_rows  INTEGER NOT NULL DEFAULT 0,
  status         TEXT    NOT NULL
                 CHECK (status = 'open' OR status = 'settled' OR status = 'failed' OR status = 'unknown'),
  is_final       INTEGER NOT NULL DEFAULT 0,
  provider_status TEXT   NOT NULL,
  occurred_at    TEXT,
  changed_at     TEXT,
  business_day   TEXT    NOT NULL,
  residuals      TEXT,
  version        INTEGER NOT NULL DEFAULT 1,
  first_seen_at  TEXT    NOT NULL,
  seen_at        TEXT    NOT NULL,
  vanished_at    TEXT,
  page_id        INTEGER REFERENCES pages (page_id),
  page_row       INTEGER,
  source         TEXT,
  amount         TEXT GENERATED ALWAYS AS (CASE WHEN amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 1000), abs(amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 10000), abs(amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 100), abs(amount_minor % 100)) END) VIRTUAL,
  fee            TEXT GENERATED ALWAYS AS (CASE WHEN fee_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', fee_currency) THEN CAST(fee_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', fee_currency) THEN printf('%s%d.%03d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 1000), abs(fee_minor % 1000))
      WHEN fee_currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 10000), abs(fee_minor % 10000))
      ELSE printf('%s%d.%02d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 100), abs(fee_minor % 100)) END) VIRTUAL
) STRICT;
CREATE UNIQUE INDEX transactions_by_id ON transactions (job, feed, account, provider_id, subject);
CREATE INDEX transactions_by_time ON transactions (job, feed, occurred_at);
CREATE INDEX transactions_by_subject ON transactions (job, feed, subject) WHERE subject <> '';
CREATE INDEX transactions_by_reference ON transactions (job, direction, reference, amount_minor, currency, status, kind,
                                                        fee_minor, fee_currency, vanished_at, provider_id, account);
CREATE INDEX transactions_vanished ON transactions (job) WHERE vanished_at IS NOT NULL;
CREATE INDEX transactions_with_residuals ON transactions (job) WHERE residuals IS NOT NULL;
CREATE INDEX transactions_fees ON transactions (job, feed, account, related_id) WHERE kind = 'fee';
CREATE INDEX transactions_by_related ON transactions (job, related_id) WHERE related_id IS NOT NULL;
CREATE TABLE superseded_versions (
  transaction_id INTEGER NOT NULL REFERENCES transactions (transaction_id),
  version        INTEGER NOT NULL,
  reference      TEXT,
  related_id     TEXT,
  direction      TEXT    NOT NULL,
  kind           TEXT    NOT NULL,
  currency       TEXT    NOT NULL,
  amount_minor   INTEGER NOT NULL,
  fee_minor      INTEGER,
  fee_currency   TEXT,
  status         TEXT    NOT NULL,
  is_final       INTEGER NOT NULL,
  provider_status TEXT   NOT NULL,
  occurred_at    TEXT,
  changed_at     TEXT,
  residuals      TEXT,
  seen_at        TEXT    NOT NULL,
  page_id        INTEGER,
  page_row       INTEGER,
  source         TEXT,
  amount         TEXT GENERATED ALWAYS AS (CASE WHEN amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 1000), abs(amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 10000), abs(amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 100), abs(amount_minor % 100)) END) VIRTUAL,
  fee            TEXT GENERATED ALWAYS AS (CASE WHEN fee_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', fee_currency) THEN CAST(fee_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', fee_currency) THEN printf('%s%d.%03d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 1000), abs(fee_minor % 1000))
      WHEN fee_currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 10000), abs(fee_minor % 10000))
      ELSE printf('%s%d.%02d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 100), abs(fee_minor % 100)) END) VIRTUAL,
  PRIMARY KEY (transaction_id, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX superseded_final ON superseded_versions (transaction_id, version) WHERE is_final = 1;
CREATE TABLE balances (
  balance_id    INTEGER PRIMARY KEY,
  job           TEXT    NOT NULL,
  account       TEXT    NOT NULL,
  feed          TEXT    NOT NULL,
  subject       TEXT    NOT NULL DEFAULT '',
  as_of         TEXT    NOT NULL,
  currency      TEXT    NOT NULL,
  item          TEXT    NOT NULL,
  amount_minor  INTEGER NOT NULL,
  seen_at       TEXT    NOT NULL,
  superseded_at TEXT,
  page_id       INTEGER REFERENCES pages (page_id),
  page_row      INTEGER,
  amount        TEXT GENERATED ALWAYS AS (CASE WHEN item LIKE '%\_count' ESCAPE '\' THEN CAST(amount_minor AS TEXT)
                                          ELSE CASE WHEN amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 1000), abs(amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 10000), abs(amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 100), abs(amount_minor % 100)) END END) VIRTUAL
) STRICT;
CREATE UNIQUE INDEX balances_current ON balances (job, feed, account, subject, as_of, currency, item) WHERE superseded_at IS NULL;
CREATE TABLE ledger_entries (
  entry_id      INTEGER PRIMARY KEY,
  job           TEXT    NOT NULL,
  ledger_id     TEXT,
  reference     TEXT    NOT NULL,
  provider_id   TEXT,
  account       TEXT,
  direction     TEXT    NOT NULL CHECK (direction IN ('in', 'out')),
  currency      TEXT    NOT NULL,
  amount_minor  INTEGER NOT NULL,
  fee_minor     INTEGER,
  status        TEXT    NOT NULL
                 CHECK (status = 'settled' OR status = 'open' OR status = 'failed' OR status = 'excluded'
                     OR status = 'unknown'),
  ledger_status TEXT,
  booked_at     TEXT,
  x_external_id TEXT,
  reference_no  TEXT,
  source        TEXT    NOT NULL,
  source_line   INTEGER NOT NULL,
  amount        TEXT GENERATED ALWAYS AS (CASE WHEN amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 1000), abs(amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 10000), abs(amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 100), abs(amount_minor % 100)) END) VIRTUAL,
  fee           TEXT GENERATED ALWAYS AS (CASE WHEN fee_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(fee_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 1000), abs(fee_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 10000), abs(fee_minor % 10000))
      ELSE printf('%s%d.%02d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 100), abs(fee_minor % 100)) END) VIRTUAL
) STRICT;
CREATE INDEX ledger_by_reference ON ledger_entries (job, direction, reference, amount_minor, currency, status, provider_id,
                                                    fee_minor, account);
CREATE INDEX ledger_by_provider_id ON ledger_entries (job, provider_id) WHERE provider_id IS NOT NULL;
CREATE INDEX ledger_by_account ON ledger_entries (job, account) WHERE account IS NOT NULL;
CREATE INDEX ledger_with_fee ON ledger_entries (job) WHERE fee_minor IS NOT NULL;
CREATE TABLE ledger_imports (
  import_id     INTEGER PRIMARY KEY,
  job           TEXT    NOT NULL,
  feed          TEXT    NOT NULL DEFAULT '',
  as_of         TEXT    NOT NULL,
  digest        TEXT    NOT NULL,
  entries       INTEGER NOT NULL,
  excluded      INTEGER NOT NULL DEFAULT 0,
  unreadable    INTEGER NOT NULL DEFAULT 0,
  newest_booked_at TEXT,
  sources       TEXT    NOT NULL
) STRICT;
CREATE INDEX ledger_imports_by_job ON ledger_imports (job, feed, import_id);
CREATE TABLE unreadable_rows (
  unreadable_id INTEGER PRIMARY KEY,
  job           TEXT    NOT NULL,
  feed          TEXT    NOT NULL DEFAULT '',
  page_id       INTEGER REFERENCES pages (page_id),
  source        TEXT,
  place         TEXT    NOT NULL,
  reason        TEXT    NOT NULL,
  seen_at       TEXT    NOT NULL,
  gone_at       TEXT
) STRICT;
CREATE UNIQUE INDEX unreadable_by_place ON unreadable_rows (job, page_id, source, place);
CREATE TABLE chosen_pairs (
  job            TEXT    NOT NULL,
  transaction_id INTEGER NOT NULL,
  entry_id       INTEGER NOT NULL,
  difference_minor INTEGER NOT NULL,
  PRIMARY KEY (job, transaction_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE pending_items (
  job           TEXT    NOT NULL,
  identity      TEXT    NOT NULL,
  transaction_id INTEGER,
  entry_id      INTEGER,
  becomes_kind  TEXT    NOT NULL,
  becomes_day   TEXT    NOT NULL,
  currency      TEXT    NOT NULL,
  amount_minor  INTEGER NOT NULL,
  PRIMARY KEY (job, identity)
) STRICT, WITHOUT ROWID;
CREATE TABLE discrepancies (
  discrepancy_id TEXT   PRIMARY KEY,
  job            TEXT   NOT NULL,
  identity       TEXT   NOT NULL,
  kind           TEXT   NOT NULL,
  state          TEXT   NOT NULL
                 CHECK (state = 'open' OR state = 'acknowledged' OR state = 'resolved'),
  provider       TEXT,
  account        TEXT,
  direction      TEXT,
  reference      TEXT,
  provider_id    TEXT,
  ledger_id      TEXT,
  currency       TEXT,
  provider_amount_minor INTEGER,
  ledger_amount_minor   INTEGER,
  difference_minor      INTEGER,
  provider_status TEXT,
  ledger_status   TEXT,
  occurred_at     TEXT,
  booked_at       TEXT,
  business_day    TEXT  NOT NULL,
  first_seen_day  TEXT  NOT NULL,
  last_seen_day   TEXT  NOT NULL,
  resolved_day    TEXT,
  age_days        INTEGER NOT NULL,
  what_differs    TEXT  NOT NULL,
  detail          TEXT  NOT NULL,
  evidence        TEXT  NOT NULL DEFAULT '',
  suggested_match TEXT,
  owner           TEXT,
  decision        TEXT
                  CHECK (decision = 'accept' OR decision = 'explain' OR decision = 'write_off' OR decision = 'assign'),
  note            TEXT,
  closed_day      TEXT,
  provider_amount TEXT GENERATED ALWAYS AS (CASE WHEN provider_amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(provider_amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(provider_amount_minor < 0, '-', ''), abs(provider_amount_minor / 1000), abs(provider_amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(provider_amount_minor < 0, '-', ''), abs(provider_amount_minor / 10000), abs(provider_amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(provider_amount_minor < 0, '-', ''), abs(provider_amount_minor / 100), abs(provider_amount_minor % 100)) END) VIRTUAL,
  ledger_amount   TEXT GENERATED ALWAYS AS (CASE WHEN ledger_amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(ledger_amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(ledger_amount_minor < 0, '-', ''), abs(ledger_amount_minor / 1000), abs(ledger_amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(ledger_amount_minor < 0, '-', ''), abs(ledger_amount_minor / 10000), abs(ledger_amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(ledger_amount_minor < 0, '-', ''), abs(ledger_amount_minor / 100), abs(ledger_amount_minor % 100)) END) VIRTUAL,
  difference      TEXT GENERATED ALWAYS AS (CASE WHEN difference_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(difference_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 1000), abs(difference_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 10000), abs(difference_minor % 10000))
      ELSE printf('%s%d.%02d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 100), abs(difference_minor % 100)) END) VIRTUAL
) STRICT;
CREATE INDEX discrepancies_by_job ON discrepancies (job, state, kind);
CREATE TABLE discrepancy_events (
  event_id       INTEGER PRIMARY KEY,
  discrepancy_id TEXT    NOT NULL REFERENCES discrepancies (discrepancy_id),
  at             TEXT    NOT NULL,
  business_day   TEXT    NOT NULL,
  event          TEXT    NOT NULL
                 CHECK (event = 'opened' OR event = 'changed' OR event = 'resolved' OR event = 'reopened'
                     OR event = 'acknowledged' OR event = 'noted' OR event = 'assigned' OR event = 'decision_expired'
                     OR event = 'late_change'),
  actor          TEXT    NOT NULL,
  note           TEXT,
  from_kind      TEXT,
  to_kind        TEXT
) STRICT;
CREATE INDEX discrepancy_events_by_id ON discrepancy_events (discrepancy_id, event_id, business_day, event);
CREATE INDEX discrepancy_events_by_day ON discrepancy_events (business_day, discrepancy_id, event);
CREATE TABLE decisions (
  decision_id    INTEGER PRIMARY KEY,
  discrepancy_id TEXT    NOT NULL REFERENCES discrepancies (discrepancy_id),
  version        INTEGER NOT NULL,
  decision       TEXT    NOT NULL
                 CHECK (decision IN ('accept', 'explain', 'write_off', 'assign', 'reopen')),
  owner          TEXT,
  note           TEXT,
  actor          TEXT    NOT NULL,
  at             TEXT    NOT NULL,
  business_day   TEXT    NOT NULL,
  source         TEXT    NOT NULL,
  source_row     INTEGER,
  return_id      INTEGER REFERENCES returned_files (return_id),
  event_id       INTEGER NOT NULL,
  kind           TEXT    NOT NULL,
  currency       TEXT,
  difference_minor INTEGER,
  what_differs   TEXT    NOT NULL,
  difference     TEXT GENERATED ALWAYS AS (CASE WHEN difference_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(difference_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 1000), abs(difference_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 10000), abs(difference_minor % 10000))
      ELSE printf('%s%d.%02d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 100), abs(difference_minor % 100)) END) VIRTUAL,
  UNIQUE (discrepancy_id, version)
) STRICT;
CREATE TABLE returned_files (
  return_id      INTEGER PRIMARY KEY,
  name           TEXT    NOT NULL,
  sha256         TEXT    NOT NULL,
  content_sha256 TEXT    NOT NULL,
  actor          TEXT    NOT NULL,
  at             TEXT    NOT NULL,
  applied        INTEGER NOT NULL,
  unchanged      INTEGER NOT NULL,
  refused        INTEGER NOT NULL
) STRICT;
CREATE INDEX returned_files_by_content ON returned_files (content_sha256);
CREATE TABLE refused_decisions (
  return_id      INTEGER NOT NULL REFERENCES returned_files (return_id),
  position       INTEGER NOT NULL,
  sheet          TEXT    NOT NULL,
  source_row     INTEGER NOT NULL,
  discrepancy_id TEXT    NOT NULL,
  decision       TEXT    NOT NULL,
  owner          TEXT,
  note           TEXT,
  reason         TEXT    NOT NULL,
  PRIMARY KEY (return_id, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE period_closes (
  close_id       INTEGER PRIMARY KEY,
  job            TEXT    NOT NULL,
  from_day       TEXT    NOT NULL,
  through_day    TEXT    NOT NULL,
  actor          TEXT    NOT NULL,
  at             TEXT    NOT NULL,
  as_of          TEXT    NOT NULL,
  note           TEXT,
  carried        INTEGER NOT NULL,
  acknowledged   INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX period_closes_by_job ON period_closes (job, through_day);
CREATE TABLE audit_trail (
  entry_id       INTEGER PRIMARY KEY,
  at             TEXT    NOT NULL,
  actor          TEXT    NOT NULL,
  act            TEXT    NOT NULL
                 CHECK (act IN ('compared', 'ledger_read', 'decided', 'closed', 'resealed')),
  job            TEXT    NOT NULL,
  subject        TEXT    NOT NULL,
  sealed         TEXT    NOT NULL,
  chain          TEXT    NOT NULL
) STRICT;
CREATE TABLE statement_lines (
  job           TEXT    NOT NULL,
  account       TEXT    NOT NULL,
  currency      TEXT    NOT NULL,
  business_day  TEXT    NOT NULL,
  position      INTEGER NOT NULL,
  line          TEXT    NOT NULL,
  amount_minor  INTEGER NOT NULL,
  source        TEXT    NOT NULL,
  explanation   TEXT    NOT NULL DEFAULT '',
  amount        TEXT GENERATED ALWAYS AS (CASE WHEN amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 1000), abs(amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 10000), abs(amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 100), abs(amount_minor % 100)) END) VIRTUAL,
  PRIMARY KEY (job, account, currency, business_day, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX statement_lines_by_day ON statement_lines (job, business_day);
CREATE TABLE calibrations (
  job   TEXT NOT NULL,
  name  TEXT NOT NULL,
  value TEXT NOT NULL,
  learned_at TEXT NOT NULL,
  PRIMARY KEY (job, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE warnings (
  job     TEXT NOT NULL,
  as_of   TEXT NOT NULL,
  warning TEXT NOT NULL,
  PRIMARY KEY (job, as_of, warning)
) STRICT, WITHOUT ROWID;
CREATE TABLE run_counts (
  run_id        INTEGER NOT NULL REFERENCES runs (run_id),
  currency      TEXT    NOT NULL,
  kind          TEXT    NOT NULL,
  count         INTEGER NOT NULL,
  difference_minor INTEGER NOT NULL,
  previous_open INTEGER NOT NULL DEFAULT 0,
  new           INTEGER NOT NULL DEFAULT 0,
  reopened      INTEGER NOT NULL DEFAULT 0,
  resolved      INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run_id, currency, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE files (
  job          TEXT    NOT NULL,
  business_day TEXT    NOT NULL,
  as_of        TEXT    NOT NULL,
  name         TEXT    NOT NULL,
  sha256       TEXT    NOT NULL,
  bytes        BLOB    NOT NULL,
  PRIMARY KEY (job, business_day, name)
) STRICT;
CREATE INDEX files_by_day ON files (business_day, job);
CREATE TABLE mails (
  mail_id      INTEGER PRIMARY KEY,
  message_id   TEXT    NOT NULL,
  job          TEXT    NOT NULL,
  business_day TEXT    NOT NULL,
  recipient    TEXT    NOT NULL,
  state        TEXT    NOT NULL CHECK (state IN ('pending', 'sent', 'failed')),
  attempts     INTEGER NOT NULL DEFAULT 0,
  last_reply   TEXT,
  queued_at    TEXT    NOT NULL,
  not_before   TEXT,
  sent_at      TEXT,
  sha256       TEXT    NOT NULL,
  message      BLOB    NOT NULL,
  UNIQUE (message_id, recipient)
) STRICT;
CREATE INDEX mails_pending ON mails (mail_id) WHERE state = 'pending';
CREATE INDEX mails_failed ON mails (queued_at) WHERE state = 'failed';
CREATE INDEX mails_by_day ON mails (job, business_day, recipient);
CREATE TABLE pauses (
  lane       TEXT PRIMARY KEY,
  not_before TEXT NOT NULL,
  why        TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE VIEW transaction_versions AS
SELECT t.transaction_id, t.job, t.provider, t.account, t.feed, t.subject, t.provider_id, s.reference, s.related_id,
       s.direction, s.kind, s.currency, s.amount_minor, s.amount,
       s.fee_minor, s.fee, s.fee_currency, s.status, s.is_final, s.provider_status, s.occurred_at, s.changed_at, t.business_day,
       t.first_seen_at, t.vanished_at, s.page_id, s.page_row, s.version, s.seen_at
  FROM superseded_versions AS s JOIN transactions AS t USING (transaction_id)
UNION ALL
SELECT transaction_id, job, provider, account, feed, subject, provider_id, reference, related_id, direction, kind, currency,
       amount_minor, amount, fee_minor, fee, fee_currency, status, is_final, provider_status, occurred_at, changed_at,
       business_day, first_seen_at, vanished_at, page_id, page_row, version, seen_at
  FROM transactions;
CREATE VIEW v_open_discrepancies AS
SELECT discrepancy_id, job, kind, state, provider, account, direction, reference, provider_id, ledger_id, currency,
       provider_amount, ledger_amount, difference, provider_amount_minor, ledger_amount_minor, difference_minor, provider_status, ledger_status, occurred_at, booked_at,
       business_day, first_seen_day, last_seen_day, age_days, what_differs, detail, evidence, suggested_match,
       owner, decision, note, closed_day
  FROM discrepancies
 WHERE state IN ('open', 'acknowledged');
CREATE VIEW v_statement AS
SELECT job, account, currency, business_day, position, line, amount_minor, amount, source, explanation
  FROM statement_lines;
CREATE VIEW v_coverage AS
SELECT job, feed, subject, from_at, until_at, state, sealed_at, pages, rows, reading, reason
  FROM windows;
CREATE VIEW v_daily_totals AS
SELECT job, provider, account, business_day, direction, kind, status, currency, count, amount_minor,
       CASE WHEN amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 1000), abs(amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 10000), abs(amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 100), abs(amount_minor % 100)) END AS amount, fee_minor
  FROM (SELECT job, provider, account, business_day, direction, kind, status, currency, count(*) AS count,
               sum(amount_minor) AS amount_minor, sum(coalesce(fee_minor, 0)) AS fee_minor
          FROM transactions
         WHERE vanished_at IS NULL
         GROUP BY job, provider, account, business_day, direction, kind, status, currency);
CREATE VIEW matches AS
SELECT p.job, t.business_day, t.provider_id, t.reference, t.currency, t.amount_minor, e.source, e.source_line,
       p.difference_minor, p.transaction_id, p.entry_id
  FROM chosen_pairs AS p JOIN transactions AS t USING (transaction_id) JOIN ledger_entries AS e USING (entry_id)
UNION ALL
SELECT t.job, t.business_day, t.provider_id, t.reference, t.currency, t.amount_minor, e.source, e.source_line,
       0, t.transaction_id, e.entry_id
  FROM ledger_entries AS e
  JOIN transactions AS t ON t.job = e.job AND t.direction = e.direction AND t.reference = e.reference
                        AND t.amount_minor = e.amount_minor AND t.currency = e.currency AND t.status = e.status
 WHERE e.status IN ('settled', 'failed') AND e.reference <> ''
   AND t.vanished_at IS NULL AND t.kind NOT IN ('fee', 'unknown')
   AND (e.provider_id IS NULL OR e.provider_id = t.provider_id)
   AND (e.status = 'failed' OR e.fee_minor IS NULL OR t.fee_minor IS NULL OR t.fee_currency <> t.currency
        OR e.fee_minor = t.fee_minor)
   AND (e.account IS NULL OR e.account = t.account
        OR e.job NOT IN (SELECT l.job
                           FROM (SELECT DISTINCT job, account FROM ledger_entries WHERE account IS NOT NULL) AS l
                           JOIN (SELECT DISTINCT job, account FROM transactions) AS a USING (job, account)))
   AND NOT EXISTS (SELECT 1 FROM transactions AS o
                    WHERE o.job = t.job AND o.direction = t.direction AND o.reference = t.reference
                      AND o.transaction_id <> t.transaction_id AND o.vanished_at IS NULL AND o.kind <> 'fee')
   AND NOT EXISTS (SELECT 1 FROM ledger_entries AS o
                    WHERE o.job = e.job AND o.direction = e.direction AND o.reference = e.reference
                      AND o.entry_id <> e.entry_id AND o.status <> 'excluded')
   AND NOT EXISTS (SELECT 1 FROM chosen_pairs AS c WHERE c.job = t.job AND c.transaction_id = t.transaction_id)
   AND NOT EXISTS (SELECT 1 FROM ledger_entries AS x
                    WHERE x.job = t.job AND x.provider_id = t.provider_id AND x.entry_id <> e.entry_id
                      AND x.status <> 'excluded'
                      AND NOT EXISTS (SELECT 1 FROM transactions AS y
                                       WHERE y.job = x.job AND y.direction = x.direction AND y.reference = x.reference
                                         AND y.provider_id = x.provider_id AND y.vanished_at IS NULL AND y.reference <> ''));
CREATE VIEW v_ageing AS
SELECT job, kind, currency, age_bucket, open, acknowledged, oldest_day, difference_minor,
       CASE WHEN difference_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(difference_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 1000), abs(difference_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 10000), abs(difference_minor % 10000))
      ELSE printf('%s%d.%02d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 100), abs(difference_minor % 100)) END AS difference
  FROM (SELECT job, kind, currency,
               CASE WHEN age_days <= 1 THEN '0-1 days' WHEN age_days <= 7 THEN '2-7 days' WHEN age_days <= 30 THEN '8-30 days'
                    ELSE 'over 30 days' END AS age_bucket,
               sum(state = 'open') AS open, sum(state = 'acknowledged') AS acknowledged, min(first_seen_day) AS oldest_day,
               sum(coalesce(difference_minor, 0)) AS difference_minor
          FROM discrepancies
         WHERE state <> 'resolved'
         GROUP BY job, kind, currency, 4);
CREATE VIEW v_match_rate AS
SELECT job, business_day, currency, settled, matched, settled - matched AS unmatched,
       printf('%d.%02d', matched * 100 / settled, matched * 10000 / settled % 100) AS match_rate
  FROM (SELECT job, business_day, currency, count(*) AS settled,
               sum(transaction_id IN (SELECT m.transaction_id FROM matches AS m)) AS matched
          FROM transactions
         WHERE status = 'settled' AND vanished_at IS NULL AND kind NOT IN ('fee', 'binding', 'unknown')
         GROUP BY job, business_day, currency);
CREATE VIEW v_fees_by_day AS
SELECT job, provider, account, business_day, direction, kind, currency, records, amount_minor,
       CASE WHEN amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 1000), abs(amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 10000), abs(amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 100), abs(amount_minor % 100)) END AS amount, fee_minor,
       CASE WHEN fee_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(fee_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 1000), abs(fee_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 10000), abs(fee_minor % 10000))
      ELSE printf('%s%d.%02d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 100), abs(fee_minor % 100)) END AS fee
  FROM (SELECT job, provider, account, business_day, direction, kind, fee_currency AS currency, count(*) AS records,
               iif(min(currency = fee_currency), sum(amount_minor), NULL) AS amount_minor, sum(fee_minor) AS fee_minor
          FROM transactions
         WHERE status = 'settled' AND vanished_at IS NULL AND fee_minor IS NOT NULL AND kind <> 'fee'
         GROUP BY job, provider, account, business_day, direction, kind, fee_currency);
CREATE VIEW v_volume_by_status AS
SELECT job, provider, business_day, direction, status, currency, count, amount_minor,
       CASE WHEN amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 1000), abs(amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 10000), abs(amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 100), abs(amount_minor % 100)) END AS amount
  FROM (SELECT job, provider, business_day, direction, status, currency, count(*) AS count, sum(amount_minor) AS amount_minor
          FROM transactions
         WHERE vanished_at IS NULL AND kind NOT IN ('fee', 'binding')
         GROUP BY job, provider, business_day, direction, status, currency);
CREATE VIEW v_decisions AS
SELECT c.decision_id, c.discrepancy_id, d.job, c.version, c.decision, c.owner, c.note, c.actor, c.at, c.business_day,
       c.source, c.source_row, c.kind, c.currency, c.difference_minor, c.difference, c.what_differs,
       CASE WHEN EXISTS (SELECT 1 FROM decisions AS o WHERE o.discrepancy_id = c.discrepancy_id AND o.version > c.version)
            THEN 'replaced'
            WHEN EXISTS (SELECT 1 FROM discrepancy_events AS e
                          WHERE e.discrepancy_id = c.discrepancy_id AND e.event_id > c.event_id AND e.event = 'decision_expired')
            THEN 'expired'
            WHEN d.state = 'resolved' THEN 'resolved'
            ELSE 'yes' END AS holds
  FROM decisions AS c JOIN discrepancies AS d ON d.discrepancy_id = c.discrepancy_id;
CREATE VIEW v_late_changes AS
SELECT v.job, v.business_day, c.closed_through, v.seen_at AS known_since, v.provider, v.account, v.feed, v.provider_id,
       v.reference, v.currency, b.amount AS amount_before, v.amount, b.fee AS fee_before, v.fee, b.status AS status_before,
       v.status, v.version
  FROM transaction_versions AS v
  JOIN (SELECT job, max(through_day) AS closed_through FROM period_closes GROUP BY job) AS c
    ON c.job = v.job AND v.business_day <= c.closed_through
  LEFT JOIN transaction_versions AS b ON b.transaction_id = v.transaction_id AND b.version = v.version - 1
 WHERE v.seen_at > (SELECT p.as_of FROM period_closes AS p
                     WHERE p.job = v.job AND p.through_day >= v.business_day ORDER BY p.through_day LIMIT 1);
