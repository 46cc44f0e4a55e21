-- KEYS: for each subject the ends of its leases and what they hold. ARGV: now, id, new end, ms that leases are kept.
local now = tonumber(ARGV[1])
for k = 1, #KEYS, 2 do
  local stop = redis.call('ZSCORE', KEYS[k], ARGV[2])
  if stop and tonumber(stop) > now then
    redis.call('ZADD', KEYS[k], ARGV[3], ARGV[2])
    redis.call('PEXPIRE', KEYS[k], ARGV[4])
    redis.call('PEXPIRE', KEYS[k + 1], ARGV[4])
  end
end
return 0
