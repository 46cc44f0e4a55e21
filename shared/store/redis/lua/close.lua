-- Closes the hours up to one, of which at most the last has records.
-- KEYS: closed hours, index of records, sums of that hour, hours with sums, costs of that hour, hours with costs, whole
-- sums of that hour of each kind.
-- ARGV: first hour not closed as the caller read it ('' none), first hour not closed from now on, hour with records, the
-- ends between which the caller found so many records; how many words tell the sums; then, if there are records, the whole
-- sums of each kind, then fields and figures of the sums and of the costs.
-- Reply: 1 done, 0 when something changed in between.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if redis.call('ZCOUNT', KEYS[2], ARGV[4], ARGV[5]) ~= tonumber(ARGV[6]) then return 0 end
if #ARGV > 7 then
  redis.call('DEL', KEYS[3], KEYS[5])
  local sums = #KEYS - 6 + 8
  local costs = sums + tonumber(ARGV[7])
  for k = 7, #KEYS do redis.call('SET', KEYS[k], ARGV[k + 1]) end
  for a = sums, #ARGV, 2 do redis.call('HSET', a < costs and KEYS[3] or KEYS[5], ARGV[a], ARGV[a + 1]) end
  redis.call('ZADD', KEYS[4], ARGV[3], ARGV[3])
  redis.call('ZADD', KEYS[6], ARGV[3], ARGV[3])
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
