-- The arithmetic of package limit on one subject's counters. Every number is below 2^53, where a double is exact.
local GRACE = 60000000
local FIELDS = {'f', 't', 'd', 'c', 'md', 'du', 'm', 'mu'}

local function base(full, now, depth, spare)
  if full > now + depth + GRACE then return now + depth - spare end
  if full > now then return full end
  return now
end

local function settle_bucket(full, now, cost, depth, n)
  local most = 2 * (depth / cost)
  if n > most then n = most elseif n < -most then n = -most end
  local next, top = base(full, now, depth, 0) + n * cost, now + depth + GRACE
  if next > top then return top end
  return next
end

local function period(stored, sum, now)
  if stored == now or stored == now + 1 then return stored, sum end
  return now, 0
end

local function spend_one(c, at, period, usd)
  local sum
  if period == c[at] then sum = c[at + 1] + usd elseif period > c[at] then sum = usd else return end
  if sum < 0 then sum = 0 end
  c[at], c[at + 1] = period, sum
end

local function spend(c, day, month, usd)
  spend_one(c, 5, day, usd)
  spend_one(c, 7, month, usd)
end

-- load reads a subject; false when its document is gone.
local function load(h)
  local v = redis.call('HMGET', h, 'v', 'f', 't', 'd', 'c', 'md', 'du', 'm', 'mu')
  if not v[1] then return false end
  local s = {h = h, v = v[1], c = {}, old = {}}
  for i = 1, 8 do
    local n = tonumber(v[i + 1] or 0)
    s.c[i], s.old[i] = n, n
  end
  return s
end

local function save(s)
  local w, n = {}, 0
  for i = 1, 8 do
    if s.c[i] ~= s.old[i] then
      w[n + 1], w[n + 2], n = FIELDS[i], s.c[i], n + 2
    end
  end
  if n > 0 then redis.call('HSET', s.h, unpack(w)) end
end

-- take_lease removes what is known of a lease: its tokens, micro-USD, day and month.
local function take_lease(y, id)
  local v = redis.call('HGET', y, id)
  if not v then return 0, 0, 0, 0 end
  redis.call('HDEL', y, id)
  local t, u, d, m = string.match(v, '^(%d+) (%d+) (%d+) (%d+)$')
  return tonumber(t), tonumber(u), tonumber(d), tonumber(m)
end
