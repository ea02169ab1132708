-- Takes members off the list. ARGV: for each, 'x' and the member; or '?' and the member if it may be about to be made,
-- in which case it goes if it was listed two minutes ago.
for _, arg in ipairs(ARGV) do
  local member = string.sub(arg, 2)
  local since = struct.unpack('>I8', member, 34)
  if string.sub(arg, 1, 1) == 'x' or now - since > 120000 then
    redis.call('ZREM', KEYS[1], member)
  end
end
return 1
