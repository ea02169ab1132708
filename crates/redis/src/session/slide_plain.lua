-- A load that is known to move the deadline, but for the row itself, which a GET behind this one fetches: what passes
-- through a script is copied three times. The caller reckons the time.
-- ARGV: the idle deadline to be (13 digits), the smallest gain worth a write in ms.
-- Answers 0 if nothing was moved, or the state of the row that was.
local call, sub = redis.call, string.sub
local head = call('GETRANGE', KEYS[1], '0', '34')
local state = string.byte(head)
if (state == 1 or state == 17) and #head == 35 then
  local target, till, absolute = ARGV[1], sub(head, 10, 22), sub(head, 23)
  if target > absolute then target = absolute end
  if target > till and (ARGV[2] == '0' or target - till >= tonumber(ARGV[2])) then
    call('SETRANGE', KEYS[1], '9', target)
    call('PEXPIREAT', KEYS[1], target)
    return state
  end
end
return 0
