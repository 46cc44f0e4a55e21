-- compatible: 1
-- What requests in flight hold, where many instances share a server.
CREATE TABLE sluice_inflight (
  kind $KEY NOT NULL,
  id $KEY NOT NULL,
  request_id $KEY NOT NULL,
  end_us $INT NOT NULL,
  tokens $INT NOT NULL,
  usd $INT NOT NULL, -- micro-USD of the day and month
  day_no $INT NOT NULL,
  month_no $INT NOT NULL,
  PRIMARY KEY (kind, id, request_id)
) $CLUSTERED;

-- The row is there from the start, so that those who close hours and those who come late can lock it.
INSERT INTO sluice_marks (name, n)
  SELECT 'closed_hours', -2562047788 FROM (SELECT COUNT(*) AS c FROM sluice_marks WHERE name = 'closed_hours') t WHERE t.c = 0;
