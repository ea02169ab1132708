-- On the new key of a rotation that does not happen. ARGV: old key.
if r and r.state == 4 and r.other == ARGV[1] then redis.call('DEL', KEYS[1]) end
return {0}
