-- Writes the sums of a day and closes the days up to one.
-- KEYS: marks, days with sums, sums of that day of each kind.
-- ARGV: how often hours had gone, and how often records had come late for the day, when the caller looked ('' never); day,
-- first day not closed from now on; how often records had come late for days that could be closed; then the sums of each
-- kind, if the day has any.
-- Reply: 1 done, 0 when a record came late, or hours went, in between.
local changes = redis.call('HMGET', KEYS[1], 'v', 'v' .. ARGV[3], 'e', 'w')
if (changes[1] or '') ~= ARGV[1] or (changes[2] or '') ~= ARGV[2] then return 0 end
local closes = not changes[3] or tonumber(changes[3]) < tonumber(ARGV[4])
if closes and (changes[4] or '') ~= ARGV[5] then return 0 end
for k = 3, #KEYS do
  if ARGV[k + 3] then redis.call('SET', KEYS[k], ARGV[k + 3]) else redis.call('DEL', KEYS[k]) end
end
if ARGV[6] then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[3]) end
if closes then redis.call('HSET', KEYS[1], 'e', ARGV[4]) end
return 1
