-- Frees a document's id and look-up strings, where claims of the given numbers hold them.
-- KEYS: ids, look-up strings, list of ids, expiring documents. ARGV: id, first claim, last claim, member of expiring,
-- whether the id is to be freed, then look-up strings.
local id, low, high = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local function drop(hash, field)
  local have = redis.call('HGET', hash, field)
  if not have then return false end
  local n, size, rest = string.match(have, '^(%d+):%d+:(%d+):(.*)$')
  n = tonumber(n)
  if n < low or n > high or string.sub(rest, tonumber(size) + 1) ~= id then return false end
  redis.call('HDEL', hash, field)
  return true
end

if ARGV[5] == '1' and drop(KEYS[1], id) then
  redis.call('ZREM', KEYS[3], id)
  redis.call('ZREM', KEYS[4], ARGV[4])
end
for a = 6, #ARGV do drop(KEYS[2], ARGV[a]) end
return 0
