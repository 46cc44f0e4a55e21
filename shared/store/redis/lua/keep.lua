-- Notes that records and sums of hours may be gone from now on, before they go. KEYS: marks. ARGV: first hour whose
-- records are kept, first hour whose sums are kept.
for i, name in ipairs({'r', 'h'}) do
  local old = redis.call('HGET', KEYS[1], name)
  if not old or tonumber(old) < tonumber(ARGV[i]) then
    redis.call('HSET', KEYS[1], name, ARGV[i])
    redis.call('HINCRBY', KEYS[1], 'v', 1)
  end
end
return 1
