-- KEYS: document, its account's list, and for generational kinds generation, subject, ends of its leases, what they hold.
-- ARGV: id, account, expires, look-up strings, body, ms to live (0: for ever), second after which it is too late,
-- number of the claim.
-- Reply: 0 done, 1 exists, 2 too late.
if tonumber(redis.call('TIME')[1]) >= tonumber(ARGV[7]) then return 2 end
if redis.call('EXISTS', KEYS[1]) == 1 then return 1 end
redis.call('HSET', KEYS[1], 'v', 1, 'a', ARGV[2], 'e', ARGV[3], 'u', ARGV[4], 'b', ARGV[5], 'c', ARGV[8])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
if ARGV[6] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[6]) end
if KEYS[3] then
  redis.call('INCR', KEYS[3])
  redis.call('DEL', KEYS[4], KEYS[5], KEYS[6])
  redis.call('HSET', KEYS[4], 'v', 1)
  if ARGV[6] ~= '0' then redis.call('PEXPIRE', KEYS[4], ARGV[6]) end
end
return 0
