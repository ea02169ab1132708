-- All members, those whose deadline is nearest first.
return redis.call('ZRANGE', KEYS[1], 0, -1)
