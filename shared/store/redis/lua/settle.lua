-- KEYS: record, index of records, closed hours, last uses; then for each subject its hash, the ends of its leases and what they hold;
-- then, for a record of a closed hour, the marks, the sums of its hour, hours with sums, costs of its hour, hours with
-- costs, days with sums, list of what was appended to, whole sums of its hour of each kind, sums of its day of each kind.
-- ARGV: now, id, day, month, tokens, micro-USD, record id, record, its end, its hour, how many of the subjects are given
-- back, how many there are, its key and its node; then for each subject cost and depth of its bucket of tokens, and 1 when it has a budget; then,
-- for a record of a closed hour, its group, its figures, its costs, its day, its whole sum.
-- Reply: whether the record is new, and whether it is the account's first; -1 when the hour is closed and the keys for
-- that were not given: nothing was done.
local now, id = tonumber(ARGV[1]), ARGV[2]
local k, a = 5, 15
local L, A = k + 3 * tonumber(ARGV[12]), a + 3 * tonumber(ARGV[12])
local closed = redis.call('GET', KEYS[3])
local late = closed and tonumber(ARGV[10]) < tonumber(closed)
if late and not KEYS[L] then return {-1, 0} end
local fresh = redis.call('SET', KEYS[1], ARGV[8], 'NX')

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

for i = 1, tonumber(ARGV[11]) do
  local s = load(KEYS[k])
  if s and redis.call('ZSCORE', KEYS[k + 1], id) then settle(s, KEYS[k + 1], KEYS[k + 2], true, 0, 0) end
  k, a = k + 3, a + 3
end
while k < L do
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
local records = redis.call('ZCARD', KEYS[2])
if records == 1 then redis.call('DEL', KEYS[4]) end
redis.call('HINCRBY', KEYS[4], 'count', 1) -- as many as there are: nobody stored one who does not note it
for i, class in ipairs({'k', 'n'}) do
  local last = redis.call('HGET', KEYS[4], class .. ARGV[12 + i])
  if not last or tonumber(last) < tonumber(ARGV[9]) then redis.call('HSET', KEYS[4], class .. ARGV[12 + i], ARGV[9]) end
end
if late then
  local hour, group = tonumber(ARGV[10]), ARGV[A]
  local function add(hash, hours, figures)
    local i = 0
    for n in string.gmatch(figures, '%S+') do
      redis.call('HINCRBY', hash, i .. ':' .. group, n)
      i = i + 1
    end
    redis.call('ZADD', hours, ARGV[10], ARGV[10])
  end
  -- The sums of coarser kinds go: they are worked out from the finest until Rollup writes all anew.
  local function append(first, class, number)
    redis.call('APPEND', KEYS[first], group .. '\n' .. ARGV[A + 4] .. '\n')
    redis.call('DEL', KEYS[first + 1], KEYS[first + 2], KEYS[first + 3], KEYS[first + 4])
    redis.call('ZADD', KEYS[L + 6], number, class .. number)
  end
  local marks = redis.call('HMGET', KEYS[L], 'e', 'h')
  if not marks[2] or hour >= tonumber(marks[2]) then
    -- Sums without costs are an older program's: the costs of one record would not make them whole. Nor would its whole
    -- sum.
    local older = redis.call('EXISTS', KEYS[L + 1]) == 1
    if redis.call('EXISTS', KEYS[L + 3]) == 1 or not older then add(KEYS[L + 3], KEYS[L + 4], ARGV[A + 2]) end
    if redis.call('EXISTS', KEYS[L + 7]) == 1 or not older then append(L + 7, 'w', ARGV[10]) end
    add(KEYS[L + 1], KEYS[L + 2], ARGV[A + 1])
  end
  if marks[1] and tonumber(ARGV[A + 3]) < tonumber(marks[1]) then
    append(L + 12, 'e', ARGV[A + 3])
    redis.call('ZADD', KEYS[L + 5], ARGV[A + 3], ARGV[A + 3])
  end
  local day = tonumber(ARGV[A + 3])
  redis.call('HINCRBY', KEYS[L], 'v' .. ARGV[A + 3], 1)
  -- Its day may be closed at this moment, perhaps as one of many that have nothing.
  if not (marks[1] and day < tonumber(marks[1])) and (day + 1) * 24 <= tonumber(closed) then redis.call('HINCRBY', KEYS[L], 'w', 1) end
end
return {1, records == 1 and 1 or 0}
