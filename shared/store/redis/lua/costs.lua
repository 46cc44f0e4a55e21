-- Writes the costs of a closed hour that has sums alone.
-- KEYS: index of records, costs of the hour, hours with costs.
-- ARGV: hour, the ends between which the caller found so many records; then fields and figures.
-- Reply: 1 done, 0 when a record came in between.
if redis.call('ZCOUNT', KEYS[1], ARGV[2], ARGV[3]) ~= tonumber(ARGV[4]) then return 0 end
redis.call('DEL', KEYS[2])
for a = 5, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[a], ARGV[a + 1]) end
redis.call('ZADD', KEYS[3], ARGV[1], ARGV[1])
return 1
