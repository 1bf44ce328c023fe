-- The books of `reconciled`: the newest schema in full. Every upgrade ends here; a test compares the two.
--
-- For analysts: open the file read-only (`sqlite3 'file:reconciled.db?mode=ro'`), or better the published copy
-- (`reconciled-latest.db`), which is replaced after every run and never locked.
--
--   instants   UTC text `2026-03-04T15:22:09.000Z`; sorts as time
--   days       text `2026-03-04`, in the job's own zone
--   money      `…_minor` INTEGER in the currency's minor unit (ISO 4217), signed from the merchant's side (in +, out -),
--              with `currency` beside it; the column of the same name without `_minor` is the plain decimal text
--   fees       `fee_minor` positive = cost
--
-- Written for SQLite 3.40 and later (STRICT tables, generated columns). Tables of many rows say `instr` or OR where a list
-- after IN would read better: SQLite works generated columns and checks out for every row it writes, and builds a table
-- for every such list each time; that took more time than storing the row.

PRAGMA application_id = 1919247214; -- 'recn'
PRAGMA user_version = 3;

-- One row per run of a job.
CREATE TABLE runs (
  run_id       INTEGER PRIMARY KEY,           -- counts up
  job          TEXT    NOT NULL,              -- name of the job file
  as_of        TEXT    NOT NULL,              -- the night the run stands for: plans, grace and reports count from here
  business_day TEXT    NOT NULL,              -- the last day that was over
  started_at   TEXT    NOT NULL,              -- wall clock
  finished_at  TEXT,                          -- NULL: running, or killed
  verdict      TEXT    CHECK (verdict IN ('reconciled', 'reconciled_with_pending', 'reconciled_with_warnings',
                                          'discrepancies', 'incomplete', 'not_reconciled', 'failed')), -- of the job's day
  exit_code    INTEGER,                       -- sysexits; 0 = every window wanted was read, compared and reported
  message      TEXT,                          -- what failed, where, what to do; NULL when all is well
  requests     INTEGER NOT NULL DEFAULT 0,    -- HTTP requests, logins and retries included
  pages        INTEGER NOT NULL DEFAULT 0,    -- pages read
  rows         INTEGER NOT NULL DEFAULT 0,    -- rows in them
  unreadable   INTEGER NOT NULL DEFAULT 0,    -- rows put aside and still unreadable
  matched      INTEGER NOT NULL DEFAULT 0,    -- pairs found equal or within tolerance
  pending      INTEGER NOT NULL DEFAULT 0,    -- timing differences inside their grace
  excluded     INTEGER NOT NULL DEFAULT 0,    -- no part of the money flow, or outside the span of what was read
  opened       INTEGER NOT NULL DEFAULT 0,    -- discrepancies new in this run, reopened ones included
  reopened     INTEGER NOT NULL DEFAULT 0,    -- found again after they were resolved
  resolved     INTEGER NOT NULL DEFAULT 0,    -- gone in this run
  open         INTEGER NOT NULL DEFAULT 0,    -- open after this run, acknowledged ones included
  compared     INTEGER NOT NULL DEFAULT 0,    -- 1: compared, and the outcome is stored; what follows are reports and mails
  stopped      INTEGER NOT NULL DEFAULT 0     -- 1: somebody asked it to stop before its end
) STRICT;
CREATE INDEX runs_by_job ON runs (job, business_day, run_id);
-- What a night asks of all runs must not cost more because there are many.
CREATE INDEX runs_by_day ON runs (business_day, job, run_id);
CREATE INDEX runs_by_start ON runs (started_at);
CREATE INDEX runs_not_finished ON runs (job) WHERE finished_at IS NULL;

-- One row per feed and time span, or per looked-up subject. `sealed` is the only proof of completeness: the window was
-- read to its end and its rows are stored. `unstable`: it moved while being read, every time.
CREATE TABLE windows (
  window_id    INTEGER PRIMARY KEY,           -- counts up
  job          TEXT    NOT NULL,              -- name of the job file
  feed         TEXT    NOT NULL,              -- stream of the provider (`deposits`, `sweeps`)
  subject      TEXT    NOT NULL DEFAULT '',   -- sweep id or looked-up key; '' for a time span
  account      TEXT    NOT NULL DEFAULT '',   -- account the subject was listed with; '' for a time span
  from_at      TEXT    NOT NULL,              -- half-open span [from_at, until_at)
  until_at     TEXT    NOT NULL,              -- first instant after it
  state        TEXT    NOT NULL CHECK (state IN ('open', 'sealed', 'unstable')), -- 'open' until it was read to its end
  sealed_at    TEXT,                          -- as-of instant of the run that read it to its end last
  reading      INTEGER NOT NULL DEFAULT 1,    -- how often it was begun
  begun_at     TEXT    NOT NULL DEFAULT '',   -- as-of instant of the run that began the present reading
  pages        INTEGER NOT NULL DEFAULT 0,    -- of the last complete reading
  rows         INTEGER NOT NULL DEFAULT 0,    -- rows in them
  shape        TEXT    NOT NULL DEFAULT '',   -- digest of the settings that shaped the requests; a cut reading is only
                                              -- continued under the same ones. For a looked-up key followed by what the
                                              -- ledger said when it was asked about (`settled`)
  reason       TEXT                           -- why it is not sealed, when it is not
) STRICT;
CREATE UNIQUE INDEX windows_by_span ON windows (job, feed, subject, from_at);
CREATE INDEX windows_not_sealed ON windows (job, feed) WHERE state <> 'sealed';
CREATE INDEX windows_by_end ON windows (job, until_at);

-- One row per distinct raw answer, never changed. Bodies are zstd frames; card numbers, security codes and personal data
-- were masked before anything was written. A page read again with the same bytes is not stored again.
CREATE TABLE pages (
  page_id      INTEGER PRIMARY KEY,           -- order of arrival
  job          TEXT    NOT NULL,              -- name of the job file
  feed         TEXT    NOT NULL,              -- stream of the provider
  window       INTEGER NOT NULL REFERENCES windows (window_id), -- window it was first read for
  number       INTEGER NOT NULL,              -- the provider's page number; cursor pages count from 0
  fetched_at   TEXT    NOT NULL,              -- wall clock when the answer was received
  as_of        TEXT    NOT NULL,              -- as-of instant of the run that fetched it
  request      TEXT    NOT NULL,              -- method, path and query; never a credential
  http_status  INTEGER NOT NULL,              -- status of the answer
  body_sha256  TEXT    NOT NULL,              -- of the stored bytes, uncompressed
  body         BLOB    NOT NULL,              -- the answer as a zstd frame
  chain        TEXT    NOT NULL               -- SHA-256 over the previous page's chain and this row's digests: a changed or missing
                                              -- page breaks every chain value after it (`reconciled verify`)
) STRICT;
CREATE INDEX pages_by_window ON pages (window, number);

-- Pages whose text was changed after all: a person's data was masked (`reconciled erase`). The chain of pages counts with the
-- digests that stand here, and so survives.
CREATE TABLE tombstones (
  page_id        INTEGER PRIMARY KEY REFERENCES pages (page_id), -- the page
  body_sha256    TEXT NOT NULL,               -- of the body as it was first stored
  request_sha256 TEXT NOT NULL,               -- of the request as it was first stored
  erased_at      TEXT NOT NULL                -- wall clock: when a person's data was masked last
) STRICT;

-- What was erased, so that it is recognised in the provider's next answer and in the next ledger. Not the text: a digest under
-- a key that lies beside the database (`<database>.erased-key`) and is in no copy of it.
CREATE TABLE erased_subjects (
  digest      TEXT PRIMARY KEY,               -- HMAC-SHA256; its first 12 digits stand in the text's place (`erased-…`)
  fingerprint INTEGER NOT NULL,               -- the same for a quick look, likewise under the key
  bytes       INTEGER NOT NULL,               -- length of the text
  erased_at   TEXT NOT NULL                   -- wall clock: when first
) STRICT, WITHOUT ROWID;

-- What keeps the house in order, and when it was done last.
CREATE TABLE upkeep (
  what    TEXT PRIMARY KEY,                   -- `quick_check`, `prune`; `versions_before`: older versions were removed
  done_at TEXT NOT NULL,                      -- wall clock; for `versions_before` the instant before which
  result  TEXT NOT NULL                       -- in words
) STRICT, WITHOUT ROWID;

-- Which page stood where in each reading of a window: the position of a walk, and what a later replay reads.
CREATE TABLE readings (
  window_id    INTEGER NOT NULL REFERENCES windows (window_id), -- the window
  reading      INTEGER NOT NULL,              -- 1, 2, …: how often the window was begun
  pass         INTEGER NOT NULL,              -- 1, 2, 3: the window moved and was read again
  position     INTEGER NOT NULL,              -- order of arrival in the pass, from 0
  number       INTEGER NOT NULL,              -- the provider's page number
  confirms     INTEGER NOT NULL DEFAULT 0,    -- 1: read again after the walk, to prove that nothing moved
  page_id      INTEGER NOT NULL REFERENCES pages (page_id), -- the bytes that stood there
  PRIMARY KEY (window_id, reading, pass, position)
) STRICT, WITHOUT ROWID;

-- One row per complete reading, in the order in which rows followed from pages: a replay walks these rows.
CREATE TABLE seals (
  seal_id      INTEGER PRIMARY KEY,           -- order of derivation
  window_id    INTEGER NOT NULL REFERENCES windows (window_id), -- the window
  reading      INTEGER NOT NULL,              -- the reading that was complete
  pass         INTEGER NOT NULL,              -- and its last pass
  from_at      TEXT    NOT NULL,              -- the window as it was then: the last one of a feed may grow
  until_at     TEXT    NOT NULL,              -- first instant after it
  state        TEXT    NOT NULL CHECK (state IN ('sealed', 'unstable')), -- what the window became
  as_of        TEXT    NOT NULL               -- as-of instant of the run that sealed it
) STRICT;
CREATE INDEX seals_by_window ON seals (window_id, seal_id);

-- One row per provider record, as it stands now.
CREATE TABLE transactions (
  transaction_id INTEGER PRIMARY KEY,         -- counts up; stays when rows are derived again
  job            TEXT    NOT NULL,            -- name of the job file
  provider       TEXT    NOT NULL,            -- payvyne, tupay, one2pays, …; for file jobs as the job names it
  account        TEXT    NOT NULL,            -- settlement account, merchant or wallet inside the job
  feed           TEXT    NOT NULL,            -- stream of the provider
  subject        TEXT    NOT NULL DEFAULT '', -- what it was listed under: the sweep
  provider_id    TEXT    NOT NULL,            -- the provider's id, exact text
  reference      TEXT,                        -- the merchant's own id at the provider
  related_id     TEXT,                        -- provider_id of the payment a refund or fee belongs to
  direction      TEXT    NOT NULL CHECK (direction IN ('in', 'out')), -- which way the money moves, seen from the merchant
  kind           TEXT    NOT NULL,            -- payment, payout, refund, fee, top_up, misc_payment, misc_return, transfer,
                                              -- deposit, cashout, withdraw, binding, unknown
  currency       TEXT    NOT NULL CHECK (length(currency) = 3), -- ISO 4217
  amount_minor   INTEGER NOT NULL,            -- minor units, signed: in +, out -
  fee_minor      INTEGER,                     -- NULL: the provider states none
  fee_currency   TEXT,                        -- ISO 4217; NULL without a fee
  reference_from_detail INTEGER NOT NULL DEFAULT 0, -- 1: the list states no reference; it was learned by asking about the
                                              -- record alone, and it is no version of the record
  fee_from_rows  INTEGER NOT NULL DEFAULT 0,  -- 1: the fee is the sum of the fee records that name this one; the provider
                                              -- states none with the record itself, and it is no version of the record
  status         TEXT    NOT NULL             -- what the word of the provider means for money
                 CHECK (status = 'open' OR status = 'settled' OR status = 'failed' OR status = 'unknown'),
  is_final       INTEGER NOT NULL DEFAULT 0,  -- 1: the provider calls this status final
  provider_status TEXT   NOT NULL,            -- the provider's word
  occurred_at    TEXT,                        -- created at the provider
  changed_at     TEXT,                        -- last changed at the provider
  business_day   TEXT    NOT NULL,            -- of occurred_at (else of the window) in the job's zone
  residuals      TEXT,                        -- JSON: relations inside this record that do not close
  version        INTEGER NOT NULL DEFAULT 1,  -- how many distinct versions were served
  first_seen_at  TEXT    NOT NULL,            -- as-of instant of the run that first read it
  seen_at        TEXT    NOT NULL,            -- as-of instant of the run that first read this version
  vanished_at    TEXT,                        -- as-of instant of the complete reading that no longer listed it
  page_id        INTEGER REFERENCES pages (page_id), -- page this version was read from; NULL for file jobs
  page_row       INTEGER,                     -- row in that page from 0; line of a file for file jobs
  source         TEXT,                        -- file, for file jobs
  -- amount: amount_minor as plain decimal text
  amount         TEXT GENERATED ALWAYS AS (CASE WHEN amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 1000), abs(amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 10000), abs(amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 100), abs(amount_minor % 100)) END) VIRTUAL,
  -- fee: fee_minor as plain decimal text
  fee            TEXT GENERATED ALWAYS AS (CASE WHEN fee_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', fee_currency) THEN CAST(fee_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', fee_currency) THEN printf('%s%d.%03d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 1000), abs(fee_minor % 1000))
      WHEN fee_currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 10000), abs(fee_minor % 10000))
      ELSE printf('%s%d.%02d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 100), abs(fee_minor % 100)) END) VIRTUAL
) STRICT;
CREATE UNIQUE INDEX transactions_by_id ON transactions (job, feed, account, provider_id, subject);
CREATE INDEX transactions_by_time ON transactions (job, feed, occurred_at);
CREATE INDEX transactions_by_subject ON transactions (job, feed, subject) WHERE subject <> '';
-- The comparison reads only this index for the mass of records that agree with their entry; it must cover what decides that.
CREATE INDEX transactions_by_reference ON transactions (job, direction, reference, amount_minor, currency, status, kind,
                                                        fee_minor, fee_currency, vanished_at, provider_id, account);
CREATE INDEX transactions_vanished ON transactions (job) WHERE vanished_at IS NOT NULL;
CREATE INDEX transactions_with_residuals ON transactions (job) WHERE residuals IS NOT NULL;
CREATE INDEX transactions_fees ON transactions (job, feed, account, related_id) WHERE kind = 'fee';
CREATE INDEX transactions_by_related ON transactions (job, related_id) WHERE related_id IS NOT NULL;

-- Versions that a later one replaced. `transaction_versions` shows them together with the current ones.
CREATE TABLE superseded_versions (
  transaction_id INTEGER NOT NULL REFERENCES transactions (transaction_id), -- the record
  version        INTEGER NOT NULL,            -- 1, 2, … in the order they were served
  reference      TEXT,                        -- these columns as in `transactions`, as that version stated them
  related_id     TEXT,                        -- provider_id of the payment a refund or fee belongs to
  direction      TEXT    NOT NULL,            -- in or out
  kind           TEXT    NOT NULL,            -- payment, payout, …
  currency       TEXT    NOT NULL,            -- ISO 4217
  amount_minor   INTEGER NOT NULL,            -- minor units, signed
  fee_minor      INTEGER,                     -- the fee as it stood then, sums of fee records included
  fee_currency   TEXT,                        -- ISO 4217
  status         TEXT    NOT NULL,            -- open, settled, failed, unknown
  is_final       INTEGER NOT NULL,            -- 1: the provider called this status final
  provider_status TEXT   NOT NULL,            -- the provider's word
  occurred_at    TEXT,                        -- created at the provider
  changed_at     TEXT,                        -- last changed at the provider
  residuals      TEXT,                        -- JSON: relations inside this version that do not close
  seen_at        TEXT    NOT NULL,            -- as-of instant of the run that first read this version
  page_id        INTEGER,                     -- where it was read
  page_row       INTEGER,                     -- row in that page from 0; line of a file for file jobs
  source         TEXT,                        -- file, for file jobs
  -- amount: amount_minor as plain decimal text
  amount         TEXT GENERATED ALWAYS AS (CASE WHEN amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 1000), abs(amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 10000), abs(amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 100), abs(amount_minor % 100)) END) VIRTUAL,
  -- fee: fee_minor as plain decimal text
  fee            TEXT GENERATED ALWAYS AS (CASE WHEN fee_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', fee_currency) THEN CAST(fee_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', fee_currency) THEN printf('%s%d.%03d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 1000), abs(fee_minor % 1000))
      WHEN fee_currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 10000), abs(fee_minor % 10000))
      ELSE printf('%s%d.%02d', iif(fee_minor < 0, '-', ''), abs(fee_minor / 100), abs(fee_minor % 100)) END) VIRTUAL,
  PRIMARY KEY (transaction_id, version)
) STRICT, WITHOUT ROWID;

CREATE INDEX superseded_final ON superseded_versions (transaction_id, version) WHERE is_final = 1;

-- One row per figure a provider stated and states still; `superseded_at` marks those it later restated.
CREATE TABLE balances (
  balance_id    INTEGER PRIMARY KEY,          -- counts up
  job           TEXT    NOT NULL,             -- name of the job file
  account       TEXT    NOT NULL,             -- settlement account, merchant or wallet inside the job
  feed          TEXT    NOT NULL,             -- stream of the provider
  subject       TEXT    NOT NULL DEFAULT '',  -- sweep id; '' for the account
  as_of         TEXT    NOT NULL,             -- the provider's instant or day label; for a figure of the moment the run's as-of
  currency      TEXT    NOT NULL,             -- ISO 4217
  item          TEXT    NOT NULL,             -- the provider's field name in snake_case; `…_count` items are plain counts
  amount_minor  INTEGER NOT NULL,             -- minor units; plain number for counts
  seen_at       TEXT    NOT NULL,             -- as-of instant of the run that first read this figure
  superseded_at TEXT,                         -- as-of instant of the run that read another figure in its place
  page_id       INTEGER REFERENCES pages (page_id), -- where it was read
  page_row      INTEGER,                      -- element in that page from 0
  -- amount: amount_minor as plain decimal text
  amount        TEXT GENERATED ALWAYS AS (CASE WHEN item LIKE '%\_count' ESCAPE '\' THEN CAST(amount_minor AS TEXT)
                                          ELSE CASE WHEN amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 1000), abs(amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 10000), abs(amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 100), abs(amount_minor % 100)) END END) VIRTUAL
) STRICT;
CREATE UNIQUE INDEX balances_current ON balances (job, feed, account, subject, as_of, currency, item) WHERE superseded_at IS NULL;

-- One row per merchant's ledger entry of the last import.
CREATE TABLE ledger_entries (
  entry_id      INTEGER PRIMARY KEY,          -- counts up; new with every import
  job           TEXT    NOT NULL,             -- name of the job file
  ledger_id     TEXT,                         -- the merchant's id of the entry, shown to people
  reference     TEXT    NOT NULL,             -- what both sides know the payment by
  provider_id   TEXT,                         -- the provider's id, where the ledger keeps it: the stronger key
  account       TEXT,                         -- account inside the job, where the ledger names one
  direction     TEXT    NOT NULL CHECK (direction IN ('in', 'out')), -- which way the money moves, seen from the merchant
  currency      TEXT    NOT NULL,             -- ISO 4217
  amount_minor  INTEGER NOT NULL,             -- minor units, signed: in +, out -
  fee_minor     INTEGER,                      -- positive = cost; NULL: the ledger states none; in `currency`
  status        TEXT    NOT NULL              -- what the ledger's word means
                 CHECK (status = 'settled' OR status = 'open' OR status = 'failed' OR status = 'excluded'
                     OR status = 'unknown'),
  ledger_status TEXT,                         -- the ledger's own word
  booked_at     TEXT,                         -- when it was booked
  x_external_id TEXT,                         -- key that a by-id provider asks for
  reference_no  TEXT,                         -- key that a by-id provider asks for
  source        TEXT    NOT NULL,             -- file or query
  source_line   INTEGER NOT NULL,             -- from 1, header included
  -- amount: amount_minor as plain decimal text
  amount        TEXT GENERATED ALWAYS AS (CASE WHEN amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 1000), abs(amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 10000), abs(amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 100), abs(amount_minor % 100)) END) VIRTUAL,
  -- fee: fee_minor as plain decimal text
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

-- One row per import of a ledger: what it was, and its newest booking (an older ledger is refused).
CREATE TABLE ledger_imports (
  import_id     INTEGER PRIMARY KEY,          -- counts up
  job           TEXT    NOT NULL,             -- name of the job file
  feed          TEXT    NOT NULL DEFAULT '',  -- feed of an export (jobs of kind `file`); '' for the ledger
  as_of         TEXT    NOT NULL,             -- of the run that read it
  digest        TEXT    NOT NULL,             -- SHA-256 over settings, names and contents; an unchanged ledger is not read again
  entries       INTEGER NOT NULL,             -- rows read, excluded ones among them
  excluded      INTEGER NOT NULL DEFAULT 0,   -- rows that are no part of the money flow
  unreadable    INTEGER NOT NULL DEFAULT 0,   -- rows put aside
  newest_booked_at TEXT,                      -- an import whose newest booking is older is refused
  sources       TEXT    NOT NULL              -- JSON list of file names
) STRICT;
CREATE INDEX ledger_imports_by_job ON ledger_imports (job, feed, import_id);

-- One row per row put aside: kept, counted, reported. Either page_id or source is NULL.
CREATE TABLE unreadable_rows (
  unreadable_id INTEGER PRIMARY KEY,          -- counts up
  job           TEXT    NOT NULL,             -- name of the job file
  feed          TEXT    NOT NULL DEFAULT '',  -- stream of the provider; '' for ledgers
  page_id       INTEGER REFERENCES pages (page_id), -- page it stands on
  source        TEXT,                         -- ledger or export file
  place         TEXT    NOT NULL,             -- `data[17].amount`, `line 12, column amount`
  reason        TEXT    NOT NULL,             -- without the value
  seen_at       TEXT    NOT NULL,             -- as-of instant of the run that read it first
  gone_at       TEXT,                         -- as-of instant of the reading in which it was gone
  reference     TEXT,                         -- what a file's row says all the same: its reference; NULL for a row of a page,
                                              -- where it stands in the page
  provider_id   TEXT,                         -- likewise the provider's id
  direction     TEXT,                         -- likewise `in`, `out`
  x_external_id TEXT,                         -- likewise the keys that Ayoconnect asks for
  reference_no  TEXT,                         -- the other one
  status        TEXT,                         -- likewise settled, open, failed, excluded
  currency      TEXT,                         -- likewise, ISO 4217
  amount_minor  INTEGER,                      -- likewise, minor units, signed from the merchant's side
  booked_at     TEXT                          -- likewise
) STRICT;
CREATE UNIQUE INDEX unreadable_by_place ON unreadable_rows (job, page_id, source, place);

-- Pairs whose match is not plain from their keys (several equal rows under one key, a difference within tolerance, or refunds
-- that agree in their sum: each part beside the one row of the other side).
-- Plain pairs are not stored: the view `matches` finds them.
CREATE TABLE chosen_pairs (
  job            TEXT    NOT NULL,            -- name of the job file
  transaction_id INTEGER NOT NULL,            -- the provider's side
  entry_id       INTEGER NOT NULL,            -- the ledger's side
  difference_minor INTEGER NOT NULL,          -- provider - ledger, within tolerance
  PRIMARY KEY (job, transaction_id, entry_id)
) STRICT, WITHOUT ROWID;

-- Items that are no match and no discrepancy yet: inside their grace, or open on both sides.
CREATE TABLE pending_items (
  job           TEXT    NOT NULL,             -- name of the job file
  identity      TEXT    NOT NULL,             -- the same that a discrepancy about it would have
  transaction_id INTEGER,                     -- the provider's side; NULL: only booked
  entry_id      INTEGER,                      -- the ledger's side; NULL: only at the provider
  becomes_kind  TEXT    NOT NULL,             -- what it will be
  becomes_day   TEXT    NOT NULL,             -- and when, if nothing happens
  currency      TEXT    NOT NULL,             -- ISO 4217
  amount_minor  INTEGER NOT NULL,             -- minor units, signed; the provider's where both are known
  PRIMARY KEY (job, identity)
) STRICT, WITHOUT ROWID;

-- One row per discrepancy, open or not.
CREATE TABLE discrepancies (
  discrepancy_id TEXT   PRIMARY KEY,          -- 16 hex digits of SHA-256 over job and identity: stable for ever
  job            TEXT   NOT NULL,             -- name of the job file
  identity       TEXT   NOT NULL,             -- what it is about, independent of its kind
  kind           TEXT   NOT NULL,             -- missing_in_ledger, amount_mismatch, …; the README lists them
  state          TEXT   NOT NULL              -- resolved: the cause is gone
                 CHECK (state = 'open' OR state = 'acknowledged' OR state = 'resolved'),
  provider       TEXT,                        -- payvyne, tupay, …
  account        TEXT,                        -- account inside the job
  direction      TEXT,                        -- in or out
  reference      TEXT,                        -- what both sides know the payment by
  provider_id    TEXT,                        -- the provider's id
  ledger_id      TEXT,                        -- the merchant's id of the entry
  currency       TEXT,                        -- ISO 4217
  provider_amount_minor INTEGER,              -- minor units, signed; for relations what the provider stated
  ledger_amount_minor   INTEGER,              -- minor units, signed; for relations what the rows give
  difference_minor      INTEGER,              -- provider - ledger, stated - computed; NULL for currency_mismatch
  provider_status TEXT,                       -- the provider's word
  ledger_status   TEXT,                       -- the ledger's word
  occurred_at     TEXT,                       -- created at the provider
  booked_at       TEXT,                       -- when it was booked
  business_day    TEXT  NOT NULL,             -- the day it is about
  first_seen_day  TEXT  NOT NULL,             -- business day of the run that opened it first
  last_seen_day   TEXT  NOT NULL,             -- business day of the last run that found it
  resolved_day    TEXT,                       -- business day of the run that no longer found it
  age_days        INTEGER NOT NULL,           -- last_seen_day - first_seen_day
  what_differs    TEXT  NOT NULL,             -- `amount: 100.00 -> 90.00` (ledger -> provider); several joined with `; `
  detail          TEXT  NOT NULL,             -- in words; relations begin with their id (`tupay R1`)
  evidence        TEXT  NOT NULL DEFAULT '',  -- feed, day, page and row; file and line
  suggested_match TEXT,                       -- the one entry or record that would fit without a shared key
  owner           TEXT,                       -- who looks after it, as last assigned
  decision        TEXT                        -- what a person decided about these very values: accept, explain, write_off,
                                              -- assign; NULL: nothing, or it was taken back or has expired
                  CHECK (decision = 'accept' OR decision = 'explain' OR decision = 'write_off' OR decision = 'assign'),
  note            TEXT,                       -- what the person wrote when deciding
  closed_day      TEXT,                       -- the closed day it is about, when it arose or changed after that day was
                                              -- closed: `business_day` is then the open day on which that became known
  -- provider_amount: provider_amount_minor as plain decimal text
  provider_amount TEXT GENERATED ALWAYS AS (CASE WHEN provider_amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(provider_amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(provider_amount_minor < 0, '-', ''), abs(provider_amount_minor / 1000), abs(provider_amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(provider_amount_minor < 0, '-', ''), abs(provider_amount_minor / 10000), abs(provider_amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(provider_amount_minor < 0, '-', ''), abs(provider_amount_minor / 100), abs(provider_amount_minor % 100)) END) VIRTUAL,
  -- ledger_amount: ledger_amount_minor as plain decimal text
  ledger_amount   TEXT GENERATED ALWAYS AS (CASE WHEN ledger_amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(ledger_amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(ledger_amount_minor < 0, '-', ''), abs(ledger_amount_minor / 1000), abs(ledger_amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(ledger_amount_minor < 0, '-', ''), abs(ledger_amount_minor / 10000), abs(ledger_amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(ledger_amount_minor < 0, '-', ''), abs(ledger_amount_minor / 100), abs(ledger_amount_minor % 100)) END) VIRTUAL,
  -- difference: difference_minor as plain decimal text
  difference      TEXT GENERATED ALWAYS AS (CASE WHEN difference_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(difference_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 1000), abs(difference_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 10000), abs(difference_minor % 10000))
      ELSE printf('%s%d.%02d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 100), abs(difference_minor % 100)) END) VIRTUAL
) STRICT;
CREATE INDEX discrepancies_by_job ON discrepancies (job, state, kind);

-- One row per change in a discrepancy's life; never changed.
CREATE TABLE discrepancy_events (
  event_id       INTEGER PRIMARY KEY,         -- counts up
  discrepancy_id TEXT    NOT NULL REFERENCES discrepancies (discrepancy_id), -- what changed
  at             TEXT    NOT NULL,            -- as-of instant of the run, or when the person decided
  business_day   TEXT    NOT NULL,            -- last day of the run; the day of the decision
  event          TEXT    NOT NULL             -- what happened
                 CHECK (event = 'opened' OR event = 'changed' OR event = 'resolved' OR event = 'reopened'
                     OR event = 'acknowledged' OR event = 'noted' OR event = 'assigned' OR event = 'decision_expired'
                     OR event = 'late_change'),
  actor          TEXT    NOT NULL,            -- `run` or a person
  note           TEXT,                        -- what the person wrote
  from_kind      TEXT,                        -- kind before
  to_kind        TEXT                         -- kind after
) STRICT;
-- A day's doings are counted from these two alone.
CREATE INDEX discrepancy_events_by_id ON discrepancy_events (discrepancy_id, event_id, business_day, event);
CREATE INDEX discrepancy_events_by_day ON discrepancy_events (business_day, discrepancy_id, event);

-- One row per decision a person took about a discrepancy, with the values it was taken about; never changed. Whether it
-- still holds says `v_decisions`.
CREATE TABLE decisions (
  decision_id    INTEGER PRIMARY KEY,         -- counts up
  discrepancy_id TEXT    NOT NULL REFERENCES discrepancies (discrepancy_id), -- what was decided about
  version        INTEGER NOT NULL,            -- 1, 2, …: the how-manieth decision about it
  decision       TEXT    NOT NULL             -- accept, explain, write_off: acknowledged; assign: to an owner; reopen: taken back
                 CHECK (decision IN ('accept', 'explain', 'write_off', 'assign', 'reopen')),
  owner          TEXT,                        -- who looks after it from then on; NULL: as before
  note           TEXT,                        -- why; explain and write_off always have one
  actor          TEXT    NOT NULL,            -- who decided
  at             TEXT    NOT NULL,            -- when, wall clock
  business_day   TEXT    NOT NULL,            -- the day of `at` in the job's zone
  source         TEXT    NOT NULL,            -- name of the returned file, or `command`
  source_row     INTEGER,                     -- its row there as a spreadsheet counts, header included; NULL: a command
  return_id      INTEGER REFERENCES returned_files (return_id), -- the file; NULL: a command
  event_id       INTEGER NOT NULL,            -- the event it wrote into the life of the discrepancy
  kind           TEXT    NOT NULL,            -- kind of the discrepancy at that time
  currency       TEXT,                        -- ISO 4217
  difference_minor INTEGER,                   -- difference at that time, minor units
  what_differs   TEXT    NOT NULL,            -- what differed at that time
  -- difference: difference_minor as plain decimal text
  difference     TEXT GENERATED ALWAYS AS (CASE WHEN difference_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(difference_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 1000), abs(difference_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 10000), abs(difference_minor % 10000))
      ELSE printf('%s%d.%02d', iif(difference_minor < 0, '-', ''), abs(difference_minor / 100), abs(difference_minor % 100)) END) VIRTUAL,
  UNIQUE (discrepancy_id, version)
) STRICT;

-- One row per sheet with decisions that came back, in the order in which they were taken in.
CREATE TABLE returned_files (
  return_id      INTEGER PRIMARY KEY,         -- counts up
  name           TEXT    NOT NULL,            -- name of the file
  sha256         TEXT    NOT NULL,            -- of its bytes: the same file again has no effect
  content_sha256 TEXT    NOT NULL,            -- of its decisions: the same ones saved in another form have none either
  actor          TEXT    NOT NULL,            -- who returned it
  at             TEXT    NOT NULL,            -- when it was taken in, wall clock
  applied        INTEGER NOT NULL,            -- decisions that took effect
  unchanged      INTEGER NOT NULL,            -- decisions that stood in the books already
  refused        INTEGER NOT NULL             -- decisions that were refused, each with its reason in `refused_decisions`
) STRICT;
CREATE INDEX returned_files_by_content ON returned_files (content_sha256);

-- One row per decision in a returned sheet that was refused: nothing a person wrote is lost.
CREATE TABLE refused_decisions (
  return_id      INTEGER NOT NULL REFERENCES returned_files (return_id), -- the file
  position       INTEGER NOT NULL,            -- order of the refusals in the file
  sheet          TEXT    NOT NULL,            -- sheet of a workbook; '' for CSV
  source_row     INTEGER NOT NULL,            -- row as a spreadsheet counts, header included
  discrepancy_id TEXT    NOT NULL,            -- as it stood in the sheet
  decision       TEXT    NOT NULL,            -- as it stood in the sheet
  owner          TEXT,                        -- as it stood in the sheet
  note           TEXT,                        -- as it stood in the sheet
  reason         TEXT    NOT NULL,            -- why it was refused, and what to do
  PRIMARY KEY (return_id, position)
) STRICT, WITHOUT ROWID;

-- One row per closing of a period. A job is closed through the greatest day here: reports of closed days are frozen,
-- and what a provider changes about them later appears in the open period with both days named. Never changed.
CREATE TABLE period_closes (
  close_id       INTEGER PRIMARY KEY,         -- counts up
  job            TEXT    NOT NULL,            -- name of the job file
  from_day       TEXT    NOT NULL,            -- first day that this closing closed
  through_day    TEXT    NOT NULL,            -- last day that this closing closed
  actor          TEXT    NOT NULL,            -- who closed
  at             TEXT    NOT NULL,            -- when, wall clock
  as_of          TEXT    NOT NULL,            -- as-of instant of the last run before it: what was known when it was closed
  note           TEXT,                        -- what the person wrote
  carried        INTEGER NOT NULL,            -- discrepancies of closed days that were open and are carried forward
  acknowledged   INTEGER NOT NULL             -- acknowledged ones of closed days
) STRICT;
CREATE UNIQUE INDEX period_closes_by_job ON period_closes (job, through_day);

-- The audit trail: one row per act that changed what people rely on, chained. An act is a comparison that stored
-- something, a ledger or an export that was taken in, files that were frozen, a mail that was queued or left, the end of a run, a
-- decision, a closing, or a reseal (rows removed or masked by `prune` and `erase`).
--
-- `sealed` holds one line per row written by the act: kind of row, key, first half of its SHA-256 (`-` when it was
-- removed). The last seal of a row is what it must be now. `chain` is the SHA-256 over the entry before it and over this
-- one, so that no entry can be changed, removed or put between without breaking every chain value after it.
-- `reconciled verify` walks the chain, works out every seal again, and names each row that is not what its last seal says.
--
-- What is sealed: `discrepancies` (what a run writes about a difference; state, owner, decision, note and days are worked
-- out again from the events and decisions), `discrepancy_events`, `decisions`, `returned_files`, `period_closes`, the frozen
-- files, the statement of closed days, each job's `ledger_entries` as a whole, the records and the span of each export as a
-- whole, `ledger_imports`, `runs` with their `run_counts`, and `mails` (recipient, bytes, state). What it cannot show: that the newest
-- entries were cut off together with their rows, or that somebody built the whole chain anew. Therefore the head of the
-- chain is printed by `verify`, `decide` and `close` and stands in every receipt: `verify --head` finds it again, or not.
CREATE TABLE audit_trail (
  entry_id       INTEGER PRIMARY KEY,         -- counts up without gaps
  at             TEXT    NOT NULL,            -- as-of instant of the run; for a person's act the wall clock
  actor          TEXT    NOT NULL,            -- `run`, or who
  act            TEXT    NOT NULL             -- what was done
                 CHECK (act IN ('compared', 'ledger_read', 'reported', 'mailed', 'ended', 'decided', 'closed', 'resealed')),
  job            TEXT    NOT NULL,            -- name of the job file; '' when it is about several
  subject        TEXT    NOT NULL,            -- business day, discrepancy, name of the file, or reason
  sealed         TEXT    NOT NULL,            -- `discrepancy 0123456789abcdef <digest>` and the like, one per line
  chain          TEXT    NOT NULL             -- SHA-256 over the entry before and this one
) STRICT;

-- One row per line of the proof per account, currency and business day, where the provider states balances.
CREATE TABLE statement_lines (
  job           TEXT    NOT NULL,             -- name of the job file
  account       TEXT    NOT NULL,             -- account inside the job
  currency      TEXT    NOT NULL,             -- ISO 4217
  business_day  TEXT    NOT NULL,             -- day in the job's zone
  position      INTEGER NOT NULL,             -- order inside the day
  line          TEXT    NOT NULL,             -- opening, closing, residual, or the kind that explains it
  amount_minor  INTEGER NOT NULL,             -- signed effect; for opening, closing and residual the figure itself
  source        TEXT    NOT NULL,             -- where the figure is from: `balance report`, `rows`
  explanation   TEXT    NOT NULL DEFAULT '',  -- of an opening whether it is the closing before; of a residual the one row
                                              -- it lost, or that none or several fit
  -- amount: amount_minor as plain decimal text
  amount        TEXT GENERATED ALWAYS AS (CASE WHEN amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 1000), abs(amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 10000), abs(amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 100), abs(amount_minor % 100)) END) VIRTUAL,
  PRIMARY KEY (job, account, currency, business_day, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX statement_lines_by_day ON statement_lines (job, business_day);

-- What was learned about an account (the sign of fees, of a report's columns).
CREATE TABLE calibrations (
  job   TEXT NOT NULL,                        -- name of the job file
  name  TEXT NOT NULL,                        -- which question (`fee_sign`)
  value TEXT NOT NULL,                        -- the answer
  learned_at TEXT NOT NULL,                   -- as-of instant of the run whose figures decided
  PRIMARY KEY (job, name)
) STRICT, WITHOUT ROWID;

-- What a person should know of a night beside its failures (a frozen wallet, a field nobody documented), kept with the page
-- or window it was seen in: the run that tells of the night may be a later one than the run that saw it.
CREATE TABLE warnings (
  job     TEXT NOT NULL,                      -- name of the job file
  as_of   TEXT NOT NULL,                      -- as-of instant of the run that saw it
  warning TEXT NOT NULL,                      -- a sentence, without values of rows
  PRIMARY KEY (job, as_of, warning)
) STRICT, WITHOUT ROWID;

-- Counts of each run's summary, per currency and kind; the summary CSV and the mail select from here.
CREATE TABLE run_counts (
  run_id        INTEGER NOT NULL REFERENCES runs (run_id), -- the run
  currency      TEXT    NOT NULL,             -- '' where a kind has none
  kind          TEXT    NOT NULL,             -- a kind of discrepancy, or `matched`, `pending`, `excluded`
  count         INTEGER NOT NULL,             -- open now; for matched, pending and excluded: how many
  difference_minor INTEGER,                   -- sum of differences; for matched and pending the sum of provider amounts;
                                              -- NULL: beyond what 64 bits hold
  previous_open INTEGER NOT NULL DEFAULT 0,   -- open before this run
  new           INTEGER NOT NULL DEFAULT 0,   -- opened in this run for the first time
  reopened      INTEGER NOT NULL DEFAULT 0,   -- found again
  resolved      INTEGER NOT NULL DEFAULT 0,   -- gone
  PRIMARY KEY (run_id, currency, kind)
) STRICT, WITHOUT ROWID;

-- Produced files, frozen: `reconciled report` writes these bytes again.
CREATE TABLE files (
  job          TEXT    NOT NULL,              -- name of the job file
  business_day TEXT    NOT NULL,              -- day the file is about
  as_of        TEXT    NOT NULL,              -- of the run that made it
  name         TEXT    NOT NULL,              -- file name
  sha256       TEXT    NOT NULL,              -- of the bytes, uncompressed
  bytes        BLOB    NOT NULL,              -- zstd frame
  PRIMARY KEY (job, business_day, name)
) STRICT;
CREATE INDEX files_by_day ON files (business_day, job);

-- One row per mail and recipient: the outbox. Bytes are frozen before anything is sent.
CREATE TABLE mails (
  mail_id      INTEGER PRIMARY KEY,           -- order of queueing
  message_id   TEXT    NOT NULL,              -- the same for every attempt
  job          TEXT    NOT NULL,              -- name of the job file; of an alert about a unit the unit
  business_day TEXT    NOT NULL,              -- day the mail is about
  recipient    TEXT    NOT NULL,              -- one address
  state        TEXT    NOT NULL CHECK (state IN ('pending', 'sent', 'failed')), -- sent = the mail server took it
  attempts     INTEGER NOT NULL DEFAULT 0,    -- how often it was offered
  last_reply   TEXT,                          -- code and first words, without addresses
  queued_at    TEXT    NOT NULL,              -- wall clock
  not_before   TEXT,                          -- a 4xx wants patience
  sent_at      TEXT,                          -- wall clock
  sha256       TEXT    NOT NULL,              -- of the message, uncompressed
  message      BLOB    NOT NULL,              -- RFC 5322, zstd frame
  UNIQUE (message_id, recipient)
) STRICT;
-- The messages lie in the rows: nobody looks through those that left.
CREATE INDEX mails_pending ON mails (mail_id) WHERE state = 'pending';
CREATE INDEX mails_failed ON mails (queued_at) WHERE state = 'failed';
CREATE INDEX mails_by_day ON mails (job, business_day, recipient);

-- A provider's wish to be left alone (Retry-After), kept over restarts.
CREATE TABLE pauses (
  lane       TEXT PRIMARY KEY,                -- digest of provider, base URL and credential reference
  not_before TEXT NOT NULL,                   -- no request before this instant
  why        TEXT NOT NULL                    -- what the provider said
) STRICT, WITHOUT ROWID;

-- ---------------------------------------------------------------------------------------------------------------------
-- Views

-- Every distinct version a provider ever served; the last one of each record is the current one.
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

-- Open discrepancies with their decimal amounts, most urgent first inside a job.
CREATE VIEW v_open_discrepancies AS
SELECT discrepancy_id, job, kind, state, provider, account, direction, reference, provider_id, ledger_id, currency,
       provider_amount, ledger_amount, difference, provider_amount_minor, ledger_amount_minor, difference_minor, provider_status, ledger_status, occurred_at, booked_at,
       business_day, first_seen_day, last_seen_day, age_days, what_differs, detail, evidence, suggested_match,
       owner, decision, note, closed_day
  FROM discrepancies
 WHERE state IN ('open', 'acknowledged');

-- The proof: per job, account, currency and business day, line by line. Residual 0: all is explained.
CREATE VIEW v_statement AS
SELECT job, account, currency, business_day, position, line, amount_minor, amount, source, explanation
  FROM statement_lines;

-- What was read, and what was not.
CREATE VIEW v_coverage AS
SELECT job, feed, subject, from_at, until_at, state, sealed_at, pages, rows, reading, reason
  FROM windows;

-- The views below add up amounts in two halves, `>> 32` and the lower 32 bits: SQLite's own sum() fails beyond 64 bits. A sum that
-- does not fit is NULL; every other one is exact.

-- Money per job, day, direction, kind, status and currency.
--   count           records
--   fee_minor       their fees together, positive = cost
CREATE VIEW v_daily_totals AS
SELECT job, provider, account, business_day, direction, kind, status, currency, count, amount_minor,
       CASE WHEN amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 1000), abs(amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 10000), abs(amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 100), abs(amount_minor % 100)) END AS amount, fee_minor
  FROM (SELECT job, provider, account, business_day, direction, kind, status, currency, count(*) AS count,
               CASE WHEN (sum(amount_minor >> 32) + (sum(amount_minor & 4294967295) >> 32)) BETWEEN -2147483648 AND 2147483647
                    THEN ((sum(amount_minor >> 32) + (sum(amount_minor & 4294967295) >> 32)) << 32) + (sum(amount_minor & 4294967295) & 4294967295) END AS amount_minor,
               CASE WHEN (sum(coalesce(fee_minor, 0) >> 32) + (sum(coalesce(fee_minor, 0) & 4294967295) >> 32)) BETWEEN -2147483648 AND 2147483647
                    THEN ((sum(coalesce(fee_minor, 0) >> 32) + (sum(coalesce(fee_minor, 0) & 4294967295) >> 32)) << 32) + (sum(coalesce(fee_minor, 0) & 4294967295) & 4294967295) END AS fee_minor
          FROM transactions
         WHERE vanished_at IS NULL
         GROUP BY job, provider, account, business_day, direction, kind, status, currency);

-- Pairs found equal, or within tolerance. Plain pairs (alone under their key on both sides, everything equal) are found by
-- their keys here; the others were chosen by the last comparison.
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
   -- an entry that names another account belongs there, where the ledger names the provider's accounts at all
   AND (e.account IS NULL OR e.account = t.account
        OR e.job NOT IN (SELECT l.job
                           FROM (SELECT DISTINCT job, account FROM ledger_entries WHERE account IS NOT NULL) AS l
                           JOIN (SELECT DISTINCT job, account FROM transactions) AS a USING (job, account)))
   -- alone on both sides
   AND NOT EXISTS (SELECT 1 FROM transactions AS o
                    WHERE o.job = t.job AND o.direction = t.direction AND o.reference = t.reference
                      AND o.transaction_id <> t.transaction_id AND o.vanished_at IS NULL AND o.kind <> 'fee')
   AND NOT EXISTS (SELECT 1 FROM ledger_entries AS o
                    WHERE o.job = e.job AND o.direction = e.direction AND o.reference = e.reference
                      AND o.entry_id <> e.entry_id AND o.status <> 'excluded')
   -- not chosen already, and no entry elsewhere names this record by its id
   AND NOT EXISTS (SELECT 1 FROM chosen_pairs AS c WHERE c.job = t.job AND c.transaction_id = t.transaction_id)
   AND NOT EXISTS (SELECT 1 FROM ledger_entries AS x
                    WHERE x.job = t.job AND x.provider_id = t.provider_id AND x.entry_id <> e.entry_id
                      AND x.status <> 'excluded'
                      AND NOT EXISTS (SELECT 1 FROM transactions AS y
                                       WHERE y.job = x.job AND y.direction = x.direction AND y.reference = x.reference
                                         AND y.provider_id = x.provider_id AND y.vanished_at IS NULL AND y.reference <> ''));

-- How old is what is open? Per job, kind, currency and age: the ages are those of the discrepancies report.
--   age_bucket      0-1 days, 2-7 days, 8-30 days, over 30 days: since the business day of the run that opened it
--   open            how many are open, acknowledged ones not included
--   acknowledged    how many a person accepted, explained or wrote off
--   oldest_day      first_seen_day of the oldest one
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
               CASE WHEN (sum(coalesce(difference_minor, 0) >> 32) + (sum(coalesce(difference_minor, 0) & 4294967295) >> 32)) BETWEEN -2147483648 AND 2147483647
                    THEN ((sum(coalesce(difference_minor, 0) >> 32) + (sum(coalesce(difference_minor, 0) & 4294967295) >> 32)) << 32) + (sum(coalesce(difference_minor, 0) & 4294967295) & 4294967295) END AS difference_minor
          FROM discrepancies
         WHERE state <> 'resolved'
         GROUP BY job, kind, currency, 4);

-- The match rate, with its one definition: of the provider records of a business day that settled (current version, listed
-- still; fees and mandates are no payments of their own), how many stand in `matches`. What is pending inside its grace
-- counts as not matched yet; what a person accepted stays not matched. It looks at every record: give it time on millions.
--   settled         settled records of the day
--   matched         those of them that have their entry
--   unmatched       the others
--   match_rate      matched / settled in percent, cut (not rounded) to two decimals: 100.00 means all of them
CREATE VIEW v_match_rate AS
SELECT job, business_day, currency, settled, matched, settled - matched AS unmatched,
       printf('%d.%02d', matched * 100 / settled, matched * 10000 / settled % 100) AS match_rate
  FROM (SELECT job, business_day, currency, count(*) AS settled,
               sum(transaction_id IN (SELECT m.transaction_id FROM matches AS m)) AS matched
          FROM transactions
         WHERE status = 'settled' AND vanished_at IS NULL AND kind NOT IN ('fee', 'binding', 'unknown')
         GROUP BY job, business_day, currency);

-- What the providers charged, per day and kind, as their settled records state it. Fees that are records of their own
-- (PayVyne) stand in `fee_minor` of the payment they name and are not counted twice.
--   records         settled records that state a fee
--   amount_minor    their amounts together, signed, in `currency`; NULL where a fee has another currency than its record
--   fee_minor       their fees together, positive = cost
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
               iif(min(currency = fee_currency), CASE WHEN (sum(amount_minor >> 32) + (sum(amount_minor & 4294967295) >> 32)) BETWEEN -2147483648 AND 2147483647
                    THEN ((sum(amount_minor >> 32) + (sum(amount_minor & 4294967295) >> 32)) << 32) + (sum(amount_minor & 4294967295) & 4294967295) END, NULL) AS amount_minor,
               CASE WHEN (sum(fee_minor >> 32) + (sum(fee_minor & 4294967295) >> 32)) BETWEEN -2147483648 AND 2147483647
                    THEN ((sum(fee_minor >> 32) + (sum(fee_minor & 4294967295) >> 32)) << 32) + (sum(fee_minor & 4294967295) & 4294967295) END AS fee_minor
          FROM transactions
         WHERE status = 'settled' AND vanished_at IS NULL AND fee_minor IS NOT NULL AND kind <> 'fee'
         GROUP BY job, provider, account, business_day, direction, kind, fee_currency);

-- How much moved, or did not, per day, direction and status. Fees and mandates are left out.
--   count           records
--   amount_minor    their amounts together, signed from the merchant's side
CREATE VIEW v_volume_by_status AS
SELECT job, provider, business_day, direction, status, currency, count, amount_minor,
       CASE WHEN amount_minor IS NULL THEN NULL
      WHEN instr('BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF', currency) THEN CAST(amount_minor AS TEXT)
      WHEN instr('BHD IQD JOD KWD LYD OMR TND', currency) THEN printf('%s%d.%03d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 1000), abs(amount_minor % 1000))
      WHEN currency IN ('CLF','UYW') THEN printf('%s%d.%04d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 10000), abs(amount_minor % 10000))
      ELSE printf('%s%d.%02d', iif(amount_minor < 0, '-', ''), abs(amount_minor / 100), abs(amount_minor % 100)) END AS amount
  FROM (SELECT job, provider, business_day, direction, status, currency, count(*) AS count,
               CASE WHEN (sum(amount_minor >> 32) + (sum(amount_minor & 4294967295) >> 32)) BETWEEN -2147483648 AND 2147483647
                    THEN ((sum(amount_minor >> 32) + (sum(amount_minor & 4294967295) >> 32)) << 32) + (sum(amount_minor & 4294967295) & 4294967295) END AS amount_minor
          FROM transactions
         WHERE vanished_at IS NULL AND kind NOT IN ('fee', 'binding')
         GROUP BY job, provider, business_day, direction, status, currency);

-- Every decision, and whether it still holds.
--   holds           yes: it stands; replaced: a later decision took its place; expired: the values changed since;
--                   resolved: its cause is gone
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

-- Records of closed days that the provider changed, or served for the first time, after the day was closed.
--   closed_through  the day through which the job was closed then
--   known_since     as-of instant of the run that first read the new version
--   amount_before   decimal text of the version before; NULL: it was not known before
--   fee_before      its fee as decimal text
--   status_before   its status
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
