-- On the new key of a rotation that has happened. ARGV: old key, what is left of its absolute time in ms or -1.
if r and r.state == 4 and r.other == ARGV[1] then
  local absolute = r.absolute
  if tonumber(ARGV[2]) >= 0 then absolute = math.min(absolute, after(ARGV[2])) end
  save(1, r.version, math.min(r.third, absolute), absolute, nil, nil, r.owner, r.payload)
  return {5, r.version}
end
return {0}
