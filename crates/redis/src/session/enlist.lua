-- Lists a session that is about to be made. ARGV: session key, what is left of its absolute time in ms or -1, the most
-- that there may be or 0, whether one more is refused, the member that this one takes the place of or ''.
-- Answers 1, the time, and if there are too many now all the others; or 0, the time, and all that there are. Those whose
-- deadline is nearest come first.
local present = redis.call('ZRANGE', KEYS[1], 0, -1)
local max = tonumber(ARGV[3])
local full = max > 0 and #present >= max
local since = struct.pack('>I8', now)
if full and ARGV[4] == '1' then return {0, since, present} end
local score = NEVER + now
if tonumber(ARGV[2]) >= 0 then score = math.min(now + tonumber(ARGV[2]), NEVER - 1) end
if ARGV[5] ~= '' then
  local place = redis.call('ZSCORE', KEYS[1], ARGV[5])
  if place then score = math.min(score, tonumber(place)) end
end
add(ARGV[1] .. since, string.format('%.0f', score) + 0)
return {1, since, full and present or {}}
