-- KEYS: generation, then for each subject its hash and, when it has leases, their ends and what they hold.
-- ARGV: now, id, lease end, day, month, tokens, micro-USD, ms that leases are kept, whether to tell the time; then for
-- each subject its version and mode (0 unlimited, 1 limited, 2 limited with leases) and, unless unlimited, cost and depth
-- of the buckets of requests and tokens, requests a day, concurrency, micro-USD a day and a month; 0 is no limit.
-- Reply: status (0 in, 1 refused, 3+i: subject i is stale), generation, seconds, microseconds; then for each limited
-- subject its counters and its number of leases: after an admission, or as a refusal found them.
local now, id = tonumber(ARGV[1]), ARGV[2]
local day, month = tonumber(ARGV[4]), tonumber(ARGV[5])
local tokens, usd = tonumber(ARGV[6]), tonumber(ARGV[7])
local subs, k, a, index = {}, 2, 10, 0

while KEYS[k] do
  local h, version, mode = KEYS[k], ARGV[a], ARGV[a + 1]
  k, a = k + 1, a + 2
  if mode == '0' then
    if redis.call('HGET', h, 'v') ~= version then return {3 + index} end
  else
    local s = load(h)
    if not s or s.v ~= version then return {3 + index} end
    s.rcost, s.rdepth, s.tcost, s.tdepth = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
    s.rpd, s.conc, s.usdday, s.usdmonth = tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5]), tonumber(ARGV[a + 6]), tonumber(ARGV[a + 7])
    a = a + 8
    if mode == '2' then
      s.z, s.y = KEYS[k], KEYS[k + 1]
      k = k + 2
    end
    subs[#subs + 1] = s
  end
  index = index + 1
end

local function reap(s)
  local ended = redis.call('ZRANGEBYSCORE', s.z, '-inf', ARGV[1])
  if #ended == 0 then return end
  redis.call('ZREMRANGEBYSCORE', s.z, '-inf', ARGV[1])
  for _, dead in ipairs(ended) do
    local t, u, d, m = take_lease(s.y, dead)
    if s.tdepth > 0 and t > 0 then s.c[2] = settle_bucket(s.c[2], now, s.tcost, s.tdepth, -t) end
    if u > 0 then spend(s.c, d, m, -u) end
  end
end

-- check works out s.next, the counters after the request, and reports whether a limit forbids it.
local function check(s)
  local c, n, no = s.c, {}, false
  for i = 1, 8 do n[i] = c[i] end
  s.next, s.tokens = n, 0
  if s.conc > 0 and s.live >= s.conc then no = true end
  if s.rdepth > 0 then
    n[1] = base(c[1], now, s.rdepth, s.rcost) + s.rcost
    if n[1] - now - s.rdepth > 0 then no = true end
  end
  if s.tdepth > 0 then
    if tokens > s.tdepth / s.tcost then
      no = true
    else
      n[2] = base(c[2], now, s.tdepth, tokens * s.tcost) + tokens * s.tcost
      if n[2] - now - s.tdepth > 0 then no = true end
    end
    s.tokens = tokens
  end
  if s.rpd > 0 then
    local d, count = period(c[3], c[4], day)
    if count >= s.rpd then no = true end
    n[3], n[4] = d, count + 1
  end
  if s.usdday > 0 or s.usdmonth > 0 then
    local d, spent = period(c[5], c[6], day)
    local m, all = period(c[7], c[8], month)
    local least = usd
    if least < 1 then least = 1 end
    if s.usdday > 0 and spent + least > s.usdday then no = true end
    if s.usdmonth > 0 and all + least > s.usdmonth then no = true end
    n[5], n[6], n[7], n[8] = d, spent + usd, m, all + usd
  end
  return no
end

local refused, again = false, false
for _, s in ipairs(subs) do
  s.live = 0
  if s.z then
    reap(s)
    s.live = redis.call('ZCARD', s.z)
    s.mine = redis.call('ZSCORE', s.z, id)
  end
  if s.mine then again = true elseif check(s) then refused = true end
end
if again then refused = false end

local reply = {refused and 1 or 0, tonumber(redis.call('GET', KEYS[1]) or 0), 0, 0}
if ARGV[9] == '1' then
  local t = redis.call('TIME')
  reply[3], reply[4] = tonumber(t[1]), tonumber(t[2])
end
for _, s in ipairs(subs) do
  if not refused and not again then
    s.c = s.next
    if s.z then
      redis.call('ZADD', s.z, ARGV[3], id)
      redis.call('PEXPIRE', s.z, ARGV[8])
      s.live = s.live + 1
      local money = s.usdday > 0 or s.usdmonth > 0
      if s.tokens > 0 or money then
        local held = (s.tokens > 0 and ARGV[6] or '0') .. (money and ' ' .. ARGV[7] .. ' ' .. s.c[5] .. ' ' .. s.c[7] or ' 0 0 0')
        redis.call('HSET', s.y, id, held)
        redis.call('PEXPIRE', s.y, ARGV[8])
      end
    end
  end
  save(s)
  local n = #reply
  for i = 1, 8 do reply[n + i] = s.c[i] end
  reply[n + 9] = s.live
end
return reply
