-- On the old key of a rotation: the moment at which it happens. ARGV: expected version, new key, grace ms, retention ms,
-- the owner to be or ''.
if r and r.state == 1 and r.version == tonumber(ARGV[1]) then
  if is_stale(ARGV[5]) then return {6} end
  local grace = math.min(after(ARGV[3]), after(ARGV[4]), r.till)
  save(2, r.version, after(ARGV[4]), r.absolute, grace, ARGV[2], r.owner, r.payload)
  return {5, r.version, 0, left(r.absolute), '', '', r.owner}
end
return view(r)
