-- KEYS: lease. ARGV: holder.
if redis.call('HGET', KEYS[1], 'h') == ARGV[1] then redis.call('HSET', KEYS[1], 'h', '') end
return 0
