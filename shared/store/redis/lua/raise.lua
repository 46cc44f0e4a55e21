-- KEYS: subject, what its leases hold. ARGV: day and month, micro-USD spent of each.
-- Reply: 1 done, 0 when there is no such subject.
local s = load(KEYS[1])
if not s then return 0 end
local held = redis.call('HVALS', KEYS[2])
for i = 1, 2 do
  local now, usd, at = ARGV[i], tonumber(ARGV[i + 2]), 3 + 2 * i
  local p, sum = period(s.c[at], s.c[at + 1], tonumber(now))
  if p == tonumber(now) then -- else another clock has begun the next
    for _, v in ipairs(held) do
      local u, d, m = string.match(v, '^%d+ (%d+) (%d+) (%d+)$')
      if (i == 1 and d or m) == now then usd = usd + tonumber(u) end
    end
    if sum < usd then s.c[at], s.c[at + 1] = p, usd end
  end
end
save(s)
return 1
