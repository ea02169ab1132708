-- What every script on a user's list begins with. The list is a sorted set beside the sessions, on a key of its own:
-- each member is a session key (33 bytes) and when it was listed (8 bytes, milliseconds, big-endian); the score is the
-- session's absolute deadline, or for one that has none more than any deadline, in the order of listing.
local NEVER = 4503599627370496
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)

local function add(member, score)
  local fresh = redis.call('EXISTS', KEYS[1]) == 0
  redis.call('ZADD', KEYS[1], 'NX', score, member)
  local left = redis.call('PTTL', KEYS[1])
  if score >= NEVER then
    redis.call('PERSIST', KEYS[1])
  elseif fresh or (left >= 0 and now + left < score) then
    redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', score))
  end
end
