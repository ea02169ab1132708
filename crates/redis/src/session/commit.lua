-- A commit whose caller does not know the time, or that moves the absolute deadline in.
-- ARGV: expected version, idle ms, absolute ms, payload.
if r and r.state == 1 and r.version == tonumber(ARGV[1]) then
  local absolute = math.min(after(ARGV[3]), r.absolute)
  local till = math.min(math.max(after(ARGV[2]), r.till), absolute)
  save(1, r.version + 1, till, absolute, nil, nil, r.owner, ARGV[4])
  return {5, r.version + 1, 0, 0, '', '', '', 0, now}
end
return view(r)
