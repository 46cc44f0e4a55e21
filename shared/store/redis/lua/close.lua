-- Closes the hours up to one, of which at most the last has records.
-- KEYS: closed hours, index of records, sums of that hour, hours with sums.
-- ARGV: first hour not closed as the caller read it ('' none), first hour not closed from now on, hour with records, the
-- ends between which the caller found so many records; then fields and figures of their sums.
-- Reply: 1 done, 0 when something changed in between.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if redis.call('ZCOUNT', KEYS[2], ARGV[4], ARGV[5]) ~= tonumber(ARGV[6]) then return 0 end
if #ARGV > 6 then
  redis.call('DEL', KEYS[3])
  for a = 7, #ARGV, 2 do redis.call('HSET', KEYS[3], ARGV[a], ARGV[a + 1]) end
  redis.call('ZADD', KEYS[4], ARGV[3], ARGV[3])
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
