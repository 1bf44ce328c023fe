-- A line put aside keeps what it says all the same; filled by the next reading of the files, as in version 2.
ALTER TABLE unreadable_rows ADD COLUMN x_external_id TEXT;
ALTER TABLE unreadable_rows ADD COLUMN reference_no TEXT;
ALTER TABLE unreadable_rows ADD COLUMN status TEXT;
ALTER TABLE unreadable_rows ADD COLUMN currency TEXT;
ALTER TABLE unreadable_rows ADD COLUMN amount_minor INTEGER;
ALTER TABLE unreadable_rows ADD COLUMN booked_at TEXT;
-- A sum of refunds is several pairs with one row of one side.
CREATE TEMP TABLE pairs AS SELECT * FROM chosen_pairs;
DROP TABLE chosen_pairs;
CREATE TABLE chosen_pairs (
  job            TEXT    NOT NULL,
  transaction_id INTEGER NOT NULL,
  entry_id       INTEGER NOT NULL,
  difference_minor INTEGER NOT NULL,
  PRIMARY KEY (job, transaction_id, entry_id)
) STRICT, WITHOUT ROWID;
INSERT INTO chosen_pairs SELECT * FROM pairs;
DROP TABLE pairs;
