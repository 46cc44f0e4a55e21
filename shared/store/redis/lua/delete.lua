-- KEYS as for create. ARGV: id, version (0: any). Reply: 0 done, with its look-up strings and last claim, 1 not found, 2 conflict.
local d = redis.call('HMGET', KEYS[1], 'v', 'u', 'c')
if d[1] and ARGV[2] ~= '0' and d[1] ~= ARGV[2] then return {2} end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if KEYS[3] then redis.call('DEL', KEYS[4], KEYS[5], KEYS[6]) end
if not d[1] then return {1} end
if KEYS[3] then redis.call('INCR', KEYS[3]) end
return {0, d[2], tonumber(d[3])}
