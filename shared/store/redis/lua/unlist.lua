-- Takes removed records off the index, and from the count of those that the last uses know of. KEYS: index of records, last
-- uses. ARGV: ids.
local n = redis.call('ZREM', KEYS[1], unpack(ARGV))
if n > 0 and redis.call('EXISTS', KEYS[2]) == 1 then redis.call('HINCRBY', KEYS[2], 'count', -n) end
return n
