-- compatible: 1
-- NULL where a program wrote the row that knows neither sketches nor agents nor these costs.
ALTER TABLE sluice_sums ADD COLUMN first_sketch $TEXT; -- of times to the first byte, see core.Sketch
ALTER TABLE sluice_sums ADD COLUMN total_sketch $TEXT;
ALTER TABLE sluice_records ADD COLUMN agent $KEY;
ALTER TABLE sluice_records ADD COLUMN cost_usd $INT; -- also in the body: looking for it there is half the work of a sum
ALTER TABLE sluice_records ADD COLUMN unpriced $INT;

-- Sums of the days of UTC before the mark days_closed, and coarser sums of their hours than sluice_sums has. The marks
-- records_kept and hours_kept are hours before which records, and sums of hours, may be gone. The row of closed_hours is
-- locked by who changes any of them.
CREATE TABLE sluice_days (
  kind $INT NOT NULL,    -- what is kept apart: 0 all, 1 accounts, 2 keys, 3 nodes, 4 models; the others are empty then. 5 to 8 of hours as 1 to 4 of days
  hour_no $INT NOT NULL, -- the hour, or the first of the day
  account $KEY NOT NULL,
  key_id $KEY NOT NULL,
  node $KEY NOT NULL,
  model $KEY NOT NULL,
  requests $INT NOT NULL,
  success $INT NOT NULL,
  estimated $INT NOT NULL,
  attempts $INT NOT NULL,
  input_tokens $INT NOT NULL,
  cache_read $INT NOT NULL,
  cache_write_5m $INT NOT NULL,
  cache_write_1h $INT NOT NULL,
  output_tokens $INT NOT NULL,
  bytes $INT NOT NULL,
  first_byte_ms $INT NOT NULL,
  first_bytes $INT NOT NULL,
  stream_ms $INT NOT NULL,
  total_ms $INT NOT NULL,
  cost_usd $INT NOT NULL,
  unpriced $INT NOT NULL,
  first_sketch $TEXT NOT NULL,
  total_sketch $TEXT NOT NULL,
  PRIMARY KEY (kind, hour_no, account, key_id, node, model)
) $CLUSTERED;
CREATE INDEX sluice_days_account ON sluice_days (account, kind, hour_no);

-- Lists of what a key, a node or a session did, however rare that is.
CREATE INDEX sluice_records_key ON sluice_records (key_id, ended_us, request_id);
CREATE INDEX sluice_records_node ON sluice_records (node, ended_us, request_id);
CREATE INDEX sluice_records_session ON sluice_records (session, ended_us, request_id);

-- The rows are there from the start, so that they are seen by who waited for the lock: all that nothing is closed or gone.
INSERT INTO sluice_marks (name, n)
  SELECT 'days_closed', -106751991 FROM (SELECT COUNT(*) AS c FROM sluice_marks WHERE name = 'days_closed') t WHERE t.c = 0;
INSERT INTO sluice_marks (name, n)
  SELECT 'records_kept', -2562047788 FROM (SELECT COUNT(*) AS c FROM sluice_marks WHERE name = 'records_kept') t WHERE t.c = 0;
INSERT INTO sluice_marks (name, n)
  SELECT 'hours_kept', -2562047784 FROM (SELECT COUNT(*) AS c FROM sluice_marks WHERE name = 'hours_kept') t WHERE t.c = 0;
