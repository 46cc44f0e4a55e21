-- compatible: 1
-- NULL where a program wrote the sums that knows no costs; the next Rollup of one that does sums those hours up anew.
ALTER TABLE sluice_sums ADD COLUMN cost_usd $INT; -- micro-USD
ALTER TABLE sluice_sums ADD COLUMN unpriced $INT; -- requests

-- The hours closed so far get the costs of the records that are kept, all in one reading; the others 0, first, so that
-- nothing which is closed meanwhile is taken for one of these. A record tells its costs in its body, so that programs of
-- every version write them.
UPDATE sluice_sums SET cost_usd = 0, unpriced = 0 WHERE cost_usd IS NULL;
INSERT INTO sluice_sums (account, hour_no, key_id, node, model, requests, success, estimated, attempts, input_tokens, cache_read, cache_write_5m, cache_write_1h, output_tokens, bytes, first_byte_ms, first_bytes, stream_ms, total_ms, cost_usd, unpriced)
  SELECT account, hour_no, key_id, node, model, COUNT(*), SUM(success), SUM(estimated), SUM(attempts), SUM(input_tokens), SUM(cache_read), SUM(cache_write_5m), SUM(cache_write_1h), SUM(output_tokens), SUM(bytes), SUM(first_byte_ms), SUM(first_bytes), SUM(stream_ms), SUM(total_ms), SUM(cost_usd), SUM(unpriced)
  FROM (SELECT account, hour_no, key_id, node, model, success, estimated, attempts, input_tokens, cache_read, cache_write_5m, cache_write_1h, output_tokens, bytes, first_byte_ms, first_bytes, stream_ms, total_ms, $COST AS cost_usd, $UNPRICED AS unpriced FROM sluice_records
    WHERE hour_no < (SELECT n FROM sluice_marks WHERE name = 'closed_hours')) r
  GROUP BY account, hour_no, key_id, node, model
  $PUT_COSTS;
