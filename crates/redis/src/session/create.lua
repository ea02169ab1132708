-- ARGV: idle ms, absolute ms, payload, owner or ''.
if r then return {0} end
if is_stale(ARGV[4]) then return {6} end
local absolute = after(ARGV[2])
save(1, 1, math.min(after(ARGV[1]), absolute), absolute, nil, nil, ARGV[4], ARGV[3])
return {5, 1, 0, 0, '', '', '', 0, now}
