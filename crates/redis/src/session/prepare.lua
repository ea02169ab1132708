-- On the new key of a rotation. ARGV: old key, new version, idle ms, absolute ms, payload, retention ms, whether one
-- that an earlier call for the same rotation left is to be written over, the owner to be or ''.
if not r or (r.state == 4 and r.other == ARGV[1] and ARGV[7] == '1') then
  save(4, tonumber(ARGV[2]), after(ARGV[6]), after(ARGV[4]), after(ARGV[3]), ARGV[1], ARGV[8], ARGV[5])
  return {5, tonumber(ARGV[2])}
end
r.payload = ''
return view(r)
