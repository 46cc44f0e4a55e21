-- Closes the hours up to one, of which at most the last has records.
-- KEYS: closed hours, index of records, sums of that hour, hours with sums, costs of that hour, hours with costs.
-- ARGV: first hour not closed as the caller read it ('' none), first hour not closed from now on, hour with records, the
-- ends between which the caller found so many records; how many words tell the sums; then fields and figures of the sums
-- and of the costs.
-- Reply: 1 done, 0 when something changed in between.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if redis.call('ZCOUNT', KEYS[2], ARGV[4], ARGV[5]) ~= tonumber(ARGV[6]) then return 0 end
if #ARGV > 7 then
  redis.call('DEL', KEYS[3], KEYS[5])
  for a = 8, #ARGV, 2 do
    local hash = a < 8 + tonumber(ARGV[7]) and KEYS[3] or KEYS[5]
    redis.call('HSET', hash, ARGV[a], ARGV[a + 1])
  end
  redis.call('ZADD', KEYS[4], ARGV[3], ARGV[3])
  redis.call('ZADD', KEYS[6], ARGV[3], ARGV[3])
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
