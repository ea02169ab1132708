-- Commits of several sessions in one call. What each session is to become lies under a name of its own already, so that
-- here nothing long is handed in or on: the heads are compared as text, and what lies there takes the session's place.
-- KEYS: for each, the session's and the one to take its place. ARGV: for each, the head that is expected.
-- Nothing stops in between: whatever cannot be done is not, and is said. Answers the sum of 2^i for each i, from 0, that
-- was not done, and 2^30 more if this server does not rename.
local call = redis.pcall
local refused, forbidden = 0, 0
for i, head in ipairs(ARGV) do
  local key, new = KEYS[2 * i - 1], KEYS[2 * i]
  local moved = nil
  if call('GETRANGE', key, '0', #head == 35 and '34' or '74') == head then
    moved = call('RENAME', new, key)
    if moved.err and not string.find(moved.err, 'no such key', 1, true) then forbidden = 1073741824 end
  end
  if not moved or moved.err then
    call('DEL', new)
    refused = refused + 2 ^ (i - 1)
  end
end
return refused + forbidden
