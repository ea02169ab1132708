-- ARGV: retention ms, the key that is known to have been rotated to this one or ''.
if r and (r.state == 1 or (r.state == 4 and r.other == ARGV[2])) then
  save(3, 0, after(ARGV[1]), 0, 0, '')
  return {5, 0}
end
if r then r.payload = '' end
return view(r)
