-- Writes the sums of an hour or a day anew, of all kinds, that late records were appended to.
-- KEYS: list of what was appended to; sums of the hour or day of each kind, the finest first.
-- ARGV: which it is in the list, the finest as the caller read it ('' none), then the texts of all kinds if there were any.
-- Reply: 1 done, 0 when something changed in between.
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then return 0 end
for a = 3, #ARGV do redis.call('SET', KEYS[a - 1], ARGV[a]) end
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
