-- ARGV: idle ms or '', the smallest gain worth a write, whether to leave the payload out.
if r and r.state == 1 and ARGV[1] ~= '' then
  local target = math.min(after(ARGV[1]), r.absolute)
  if target > r.till and target - r.till >= tonumber(ARGV[2]) then
    r.till = target
    r.slid = true
    redis.call('SETRANGE', KEYS[1], 9, digits(target))
    redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', target))
  end
end
if r and ARGV[3] == '1' then r.payload = '' end
return view(r)
