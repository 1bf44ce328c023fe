-- What is new is filled by the next reading of the files: the reader's digest is another one, too.
ALTER TABLE runs ADD COLUMN compared INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE unreadable_rows ADD COLUMN reference TEXT;
ALTER TABLE unreadable_rows ADD COLUMN provider_id TEXT;
ALTER TABLE unreadable_rows ADD COLUMN direction TEXT;
ALTER TABLE run_counts RENAME TO run_counts_before;
CREATE TABLE run_counts (
  run_id        INTEGER NOT NULL REFERENCES runs (run_id),
  currency      TEXT    NOT NULL,
  kind          TEXT    NOT NULL,
  count         INTEGER NOT NULL,
  difference_minor INTEGER,
  previous_open INTEGER NOT NULL DEFAULT 0,
  new           INTEGER NOT NULL DEFAULT 0,
  reopened      INTEGER NOT NULL DEFAULT 0,
  resolved      INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run_id, currency, kind)
) STRICT, WITHOUT ROWID;
INSERT INTO run_counts SELECT * FROM run_counts_before;
DROP TABLE run_counts_before;
ALTER TABLE audit_trail RENAME TO audit_trail_before;
CREATE TABLE audit_trail (
  entry_id       INTEGER PRIMARY KEY,
  at             TEXT    NOT NULL,
  actor          TEXT    NOT NULL,
  act            TEXT    NOT NULL
                 CHECK (act IN ('compared', 'ledger_read', 'reported', 'mailed', 'ended', 'decided', 'closed',
                                'resealed')),
  job            TEXT    NOT NULL,
  subject        TEXT    NOT NULL,
  sealed         TEXT    NOT NULL,
  chain          TEXT    NOT NULL
) STRICT;
INSERT INTO audit_trail SELECT * FROM audit_trail_before;
DROP TABLE audit_trail_before;
