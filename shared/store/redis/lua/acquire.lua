-- KEYS: lease. ARGV: holder, now, end, ms to keep it. Reply: fencing number, 0 when another holds it.
local l = redis.call('HMGET', KEYS[1], 'h', 'e', 'f')
local live = l[1] and l[1] ~= '' and tonumber(l[2]) > tonumber(ARGV[2])
if live and l[1] ~= ARGV[1] then return 0 end
local fence = tonumber(l[3] or 0)
if not live then
  -- Beginning with the time makes it rise also after the key has expired.
  fence = math.max(fence + 1, tonumber(ARGV[2]))
end
redis.call('HSET', KEYS[1], 'h', ARGV[1], 'e', ARGV[3], 'f', fence)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return fence
