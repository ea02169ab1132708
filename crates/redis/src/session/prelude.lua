-- What every script on a session begins with, but for those that are called all the time. A script sees one key, so a
-- cluster can run it where that key lives, and takes the time from the server that runs it.
--
-- A row is one string: state (1 byte), version (8 bytes, big-endian), end and absolute deadline (13 digits each). For
-- states 2 and 4 follow a third time (13 digits) and another key (33 bytes); then the owner, if there is one, and the
-- payload. Times are milliseconds since the Unix epoch. They are digits since that is what commands take and what scripts
-- compare without unpacking anything: numbers are most of what a script costs. A state that is greater by 16 is that of a
-- row with an owner: the user (32 bytes) and when the row's key was listed for them (8 bytes), as list.lua told it.
--   1 live: the end is the idle deadline. If the state is greater by 32, that of the key may be later, and is meant: loads
--     that always move it move the key's alone.
--   2 rotated away: the end is that of being remembered, the third time that of the grace, the other key the new one.
--   3 deleted: the end is that of being remembered.
--   4 prepared by a rotation: the third time is the idle deadline to be, the other key the old one.
-- The key expires with the row, so the server sweeps.
local NEVER = 9999999999999
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function after(ms)
  return math.min(now + tonumber(ms), NEVER)
end

local function left(deadline)
  if deadline >= NEVER then return -1 end
  return math.max(deadline - now, 0)
end

local function digits(time)
  return string.format('%013.0f', time)
end

local function row()
  local raw = redis.call('GET', KEYS[1])
  if not raw then return nil end
  if #raw < 35 then return nil, redis.error_reply('CORRUPT too short for a session') end
  local r = {}
  r.state, r.version = struct.unpack('>BI8', raw)
  r.till, r.absolute = tonumber(string.sub(raw, 10, 22)), tonumber(string.sub(raw, 23, 35))
  local from = 36
  r.late = r.state >= 32
  if r.late then r.state = r.state - 32 end
  local owned = r.state >= 16
  if owned then r.state = r.state - 16 end
  if r.state == 2 or r.state == 4 then
    r.third = tonumber(string.sub(raw, 36, 48))
    r.other = string.sub(raw, 49, 81)
    from = 82
  end
  if r.state < 1 or r.state > 4 or not r.till or not r.absolute or (from == 82 and not r.third) then
    return nil, redis.error_reply('CORRUPT not a session')
  end
  if r.late and r.state == 1 then
    r.till = math.min(math.max(r.till, redis.call('PEXPIRETIME', KEYS[1])), r.absolute)
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

-- States 2 and 4 have a third time and another key, the others neither.
local function save(state, version, till, absolute, third, other, owner, payload)
  if owner ~= '' then state = state + 16 end
  local head = struct.pack('>BI8', state, version) .. digits(till) .. digits(absolute)
  if third then head = head .. digits(third) .. other end
  redis.call('SET', KEYS[1], head .. owner .. payload, 'PXAT', string.format('%.0f', till))
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
    if now < r.third then payload = r.payload end
    return {2, r.version, left(r.third), left(r.absolute), payload, r.other, r.owner}
  end
  if r.state == 4 then return {4, r.version, 0, 0, '', r.other, r.owner} end
  return {3}
end

local r, failure = row()
if failure then return failure end
