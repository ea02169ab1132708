-- ARGV: retention ms, the key that is known to have been rotated to this one or '', whether to leave a mark where there
-- is nothing, or only a row that was prepared, so that whoever is about to make a session here does not.
if r and (r.state == 1 or (r.state == 4 and r.other == ARGV[2])) then
  save(3, 0, after(ARGV[1]), 0, nil, nil, '', '')
  return {5, 0, 0, 0, '', '', r.owner}
end
if ARGV[3] == '1' and (not r or r.state == 4) then
  save(3, 0, after(ARGV[1]), 0, nil, nil, '', '')
  return {0}
end
if r then r.payload = '' end
return view(r)
