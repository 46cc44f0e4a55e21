-- KEYS: record, index of records, closed hours, sums of the record's hour, hours with sums, costs of the record's hour,
-- hours with costs; then for each subject its hash, the ends of its leases and what they hold.
-- ARGV: now, id, day, month, tokens, micro-USD, record id, record, its end, its hour, its group, its figures, its costs,
-- how many of the subjects are given back; then for each subject cost and depth of its bucket of tokens, and 1 when it has a budget.
-- Reply: whether the record is new, and whether it is the account's first.
local now, id = tonumber(ARGV[1]), ARGV[2]
local fresh = redis.call('SET', KEYS[1], ARGV[8], 'NX')
local k, a = 8, 15

local function settle(s, z, y, held, tokens, usd)
  local cost, depth, money = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), ARGV[a + 2] == '1'
  local t, u, d, m = 0, 0, tonumber(ARGV[3]), tonumber(ARGV[4])
  if held then
    redis.call('ZREM', z, id)
    t, u, d, m = take_lease(y, id)
  end
  if depth > 0 and tokens ~= t then s.c[2] = settle_bucket(s.c[2], now, cost, depth, tokens - t) end
  if money then spend(s.c, d, m, usd - u) end
  save(s)
end

for i = 1, tonumber(ARGV[14]) do
  local s = load(KEYS[k])
  if s and redis.call('ZSCORE', KEYS[k + 1], id) then settle(s, KEYS[k + 1], KEYS[k + 2], true, 0, 0) end
  k, a = k + 3, a + 3
end
while KEYS[k] do
  local s = load(KEYS[k])
  if s then
    local held = redis.call('ZSCORE', KEYS[k + 1], id)
    -- Without a lease a known record tells a repeated call from a late one.
    if not held and not fresh then break end
    settle(s, KEYS[k + 1], KEYS[k + 2], held, tonumber(ARGV[5]), tonumber(ARGV[6]))
  end
  k, a = k + 3, a + 3
end

if not fresh then return {0, 0} end
redis.call('ZADD', KEYS[2], ARGV[9], ARGV[7])
local closed = redis.call('GET', KEYS[3])
if closed and tonumber(ARGV[10]) < tonumber(closed) then
  local function add(hash, hours, figures)
    local i = 0
    for n in string.gmatch(figures, '%S+') do
      redis.call('HINCRBY', hash, i .. ':' .. ARGV[11], n)
      i = i + 1
    end
    redis.call('ZADD', hours, ARGV[10], ARGV[10])
  end
  -- Sums without costs are an older program's: the costs of one record would not make them whole.
  if redis.call('EXISTS', KEYS[6]) == 1 or redis.call('EXISTS', KEYS[4]) == 0 then add(KEYS[6], KEYS[7], ARGV[13]) end
  add(KEYS[4], KEYS[5], ARGV[12])
end
return {1, redis.call('ZCARD', KEYS[2]) == 1 and 1 or 0}
