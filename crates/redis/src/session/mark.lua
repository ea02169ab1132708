-- Sees to it that no session is made here, where there is none. ARGV: retention ms.
if not r then
  save(3, 0, after(ARGV[1]), 0, nil, nil, '', '')
  return {5, 0}
end
r.payload = ''
return view(r)
