-- KEYS as for create. ARGV: version, account, expires, look-up strings, body, ms to live (0: for ever), second after which
-- it is too late (0: nothing was claimed, so that look-up strings and expiry must be those it has), number of the
-- claim, look-up strings it was made for: a document deleted and created anew has its old versions again, but others,
-- or a later claim.
-- Reply: 0 done, 1 not found, 2 conflict, 3 another account, 4 the index must know first, with the strings it has, 5 too late.
local d = redis.call('HMGET', KEYS[1], 'v', 'a', 'e', 'u', 'c')
if not d[1] then return {1} end
if d[1] ~= ARGV[1] then return {2} end
if d[2] ~= ARGV[2] then return {3} end
if ARGV[7] == '0' then
  if d[3] ~= ARGV[3] or d[4] ~= ARGV[4] then return {4, d[4]} end
elseif d[4] ~= ARGV[9] or tonumber(d[5]) > tonumber(ARGV[8]) then
  return {2}
elseif tonumber(redis.call('TIME')[1]) >= tonumber(ARGV[7]) then
  return {5}
end
local version = tonumber(d[1]) + 1
redis.call('HSET', KEYS[1], 'v', version, 'e', ARGV[3], 'u', ARGV[4], 'b', ARGV[5])
if ARGV[7] ~= '0' then redis.call('HSET', KEYS[1], 'c', ARGV[8]) end
local function live(key)
  if ARGV[6] == '0' then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, ARGV[6]) end
end
live(KEYS[1])
if KEYS[3] then
  redis.call('INCR', KEYS[3])
  redis.call('HSET', KEYS[4], 'v', version)
  live(KEYS[4])
end
return {0}
