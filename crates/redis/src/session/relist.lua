-- Lists a session that lives, should the list have lost it. ARGV: member, what is left of its absolute time in ms or -1.
local score = NEVER + now
if tonumber(ARGV[2]) >= 0 then score = math.min(now + tonumber(ARGV[2]), NEVER - 1) end
add(ARGV[1], score)
return 1
