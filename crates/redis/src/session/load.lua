-- ARGV: idle ms or '', the smallest gain worth a write, whether to leave the payload out, whether the caller moves the
-- deadline by the key's end from now on.
if r and r.state == 1 and ARGV[1] ~= '' then
  local target = math.min(after(ARGV[1]), r.absolute)
  if target > r.till and target - r.till >= tonumber(ARGV[2]) then
    r.till = target
    r.slid = true
    redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', target))
  end
  local late = ARGV[4] == '1'
  if r.slid or r.late ~= late then
    local state = (r.owner ~= '' and 17 or 1) + (late and 32 or 0)
    redis.call('SETRANGE', KEYS[1], 0, struct.pack('>BI8', state, r.version) .. digits(r.till))
  end
end
if r and ARGV[3] == '1' then r.payload = '' end
return view(r)
