-- compatible: 1
CREATE TABLE sluice_docs (
  kind $KEY NOT NULL,
  id $KEY NOT NULL,
  account $KEY NOT NULL,
  version $INT NOT NULL,
  expires_us $INT NOT NULL, -- 0: never
  looks $TEXT NOT NULL,     -- JSON array of the look-up strings
  body $BLOB NOT NULL,
  PRIMARY KEY (kind, id)
);
CREATE INDEX sluice_docs_account ON sluice_docs (kind, account, id);
CREATE INDEX sluice_docs_expires ON sluice_docs (expires_us);

CREATE TABLE sluice_uniques (
  kind $KEY NOT NULL,
  value $KEY NOT NULL,
  id $KEY NOT NULL,
  PRIMARY KEY (kind, value)
) $CLUSTERED;
CREATE INDEX sluice_uniques_id ON sluice_uniques (kind, id);

CREATE TABLE sluice_counters (name $KEY NOT NULL PRIMARY KEY, n $INT NOT NULL) $CLUSTERED;
CREATE TABLE sluice_generations (account $KEY NOT NULL PRIMARY KEY, n $INT NOT NULL) $CLUSTERED;

-- A lease that was given up stays with an empty holder, because its fence must rise.
CREATE TABLE sluice_leases (
  name $KEY NOT NULL PRIMARY KEY,
  holder $TEXT NOT NULL,
  until_us $INT NOT NULL,
  fence $INT NOT NULL
) $CLUSTERED;

CREATE TABLE sluice_limits (
  kind $KEY NOT NULL,
  id $KEY NOT NULL,
  full_us $INT NOT NULL,
  day_no $INT NOT NULL,
  day_count $INT NOT NULL,
  PRIMARY KEY (kind, id)
) $CLUSTERED;

CREATE TABLE sluice_records (
  request_id $KEY NOT NULL PRIMARY KEY,
  account $KEY NOT NULL,
  key_id $KEY NOT NULL,
  node $KEY NOT NULL,
  model $KEY NOT NULL,
  session $KEY NOT NULL,
  hour_no $INT NOT NULL, -- of ended_us, since 1970
  ended_us $INT NOT NULL,
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
  body $BLOB NOT NULL
);
CREATE INDEX sluice_records_account ON sluice_records (account, ended_us, request_id);
CREATE INDEX sluice_records_ended ON sluice_records (ended_us, request_id);

CREATE TABLE sluice_sums (
  account $KEY NOT NULL,
  hour_no $INT NOT NULL,
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
  PRIMARY KEY (account, hour_no, key_id, node, model)
) $CLUSTERED;
CREATE INDEX sluice_sums_hour ON sluice_sums (hour_no);

-- closed_hours: the hours before n are closed.
CREATE TABLE sluice_marks (name $KEY NOT NULL PRIMARY KEY, n $INT NOT NULL) $CLUSTERED;
