-- What commit_plain.lua left: somebody else was first, or the session moved or ended.
return view(r)
