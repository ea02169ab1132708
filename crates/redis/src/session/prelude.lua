-- What every script on a session begins with. A script sees one key, so a cluster can run it where that key lives, and takes the
-- time from the server that runs it.
--
-- A row is one string: state (1 byte), version, end, absolute deadline, and a fourth number (8 bytes each, big-endian),
-- then for states 2 and 4 another key of 33 bytes, then the owner, then the payload. Times are milliseconds since the
-- Unix epoch. A state that is greater by 16 is that of a row with an owner: the user (32 bytes) and when the row's key
-- was listed for them (8 bytes), as list.lua told it. Other rows have none.
--   1 live: the end is the idle deadline.
--   2 rotated away: the end is that of being remembered, the fourth number that of the grace, the other key the new one.
--   3 deleted: the end is that of being remembered.
--   4 prepared by a rotation: the fourth number is the idle deadline to be, the other key the old one.
-- The key expires with the row, so the server sweeps.
local NEVER = 9007199254740991
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function after(ms)
  return math.min(now + tonumber(ms), NEVER)
end

local function left(deadline)
  if deadline >= NEVER then return -1 end
  return math.max(deadline - now, 0)
end

local function row()
  local raw = redis.call('GET', KEYS[1])
  if not raw then return nil end
  if #raw < 33 then return nil, redis.error_reply('CORRUPT too short for a session') end
  local r = {}
  r.state, r.version, r.till, r.absolute, r.fourth = struct.unpack('>BI8I8I8I8', raw)
  local from = 34
  local owned = r.state >= 16
  if owned then r.state = r.state - 16 end
  if r.state == 2 or r.state == 4 then
    from = 67
    r.other = string.sub(raw, 34, 66)
  elseif r.state ~= 1 and r.state ~= 3 then
    return nil, redis.error_reply('CORRUPT not a session')
  end
  if now >= r.till then
    -- Before anybody is told that it has ended, so that a clock that is set back brings nothing back.
    redis.call('DEL', KEYS[1])
    return nil
  end
  r.owner = ''
  if owned then
    r.owner = string.sub(raw, from, from + 39)
    from = from + 40
  end
  r.payload = string.sub(raw, from)
  return r
end

local function save(state, version, till, absolute, fourth, other, owner, payload)
  if owner ~= '' then state = state + 16 end
  local head = struct.pack('>BI8I8I8I8', state, version, till, absolute, fourth)
  redis.call('SET', KEYS[1], head .. other .. owner .. payload, 'PXAT', string.format('%.0f', till))
end

-- Whether a key was listed for its owner so long ago that the list may have given it up. Half of what enlist.lua waits.
local function is_stale(owner)
  return owner ~= '' and now - struct.unpack('>I8', owner, 33) > 60000
end

-- Answers: 0 nothing, 1 to 4 the state of the row, 5 done, 6 stale.
local function view(r)
  if not r then return {0} end
  if r.state == 1 then
    return {1, r.version, left(r.till), left(r.absolute), r.payload, '', r.owner, r.slid and 1 or 0, now}
  end
  if r.state == 2 then
    local payload = ''
    if now < r.fourth then payload = r.payload end
    return {2, r.version, left(r.fourth), left(r.absolute), payload, r.other, r.owner}
  end
  if r.state == 4 then return {4, r.version, 0, 0, '', r.other, r.owner} end
  return {3}
end

local r, failure = row()
if failure then return failure end
