-- Reserves a document's id and look-up strings in the index, all or none.
-- KEYS: claims made, ids, look-up strings, list of ids, expiring documents.
-- ARGV: id, home, member of expiring, when it expires (microseconds, 0 never), seconds a claim may wait for its document,
-- whether the id is to be claimed, the stale entry of it that may be overwritten; then look-up strings, each with the same.
-- Reply: 1, the claim's number, the second by which the document must be written; or 0, which string (0: the id), its
-- entry, 1 when that entry is as expected but too young to be called stale.
local now, id = tonumber(redis.call('TIME')[1]), ARGV[1]

local function taken(hash, field, stale, i)
  local have = redis.call('HGET', hash, field)
  if not have then return nil end
  local young = now - tonumber(string.match(have, '^%d+:(%d+):')) < 2 * tonumber(ARGV[5])
  if have == stale and not young then return nil end
  return {0, i, have, have == stale and 1 or 0}
end

if ARGV[6] == '1' then
  local no = taken(KEYS[2], id, ARGV[7], 0)
  if no then return no end
end
for a = 8, #ARGV, 2 do
  local no = taken(KEYS[3], ARGV[a], ARGV[a + 1], a / 2 - 3)
  if no then return no end
end

local n = redis.call('INCR', KEYS[1])
local entry = n .. ':' .. now .. ':' .. #ARGV[2] .. ':' .. ARGV[2] .. id
if ARGV[6] == '1' then
  redis.call('HSET', KEYS[2], id, entry)
  redis.call('ZADD', KEYS[4], 0, id)
end
for a = 8, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[a], entry) end
if ARGV[4] ~= '0' then
  local have = redis.call('ZSCORE', KEYS[5], ARGV[3])
  if not have or tonumber(have) > tonumber(ARGV[4]) then redis.call('ZADD', KEYS[5], ARGV[4], ARGV[3]) end
end
return {1, n, now + tonumber(ARGV[5])}
