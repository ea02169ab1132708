-- ARGV: idle ms, absolute ms, payload.
if r then return {0} end
local absolute = after(ARGV[2])
save(1, 1, math.min(after(ARGV[1]), absolute), absolute, 0, ARGV[3])
return {5, 1}
