-- The commit that nearly all are: the session lives, and nobody else was first. It looks at the head of the row alone,
-- compares it as text, and does without the prelude, which leaves less than half of what a commit by numbers costs the
-- server. The caller reckons the time. Whatever else there is follows below, where it is told apart.
-- ARGV: the version expected and the next one (8 bytes each), the idle deadline to be (13 digits), payload, the latest
-- that the time can be (13 digits). Of a row whose key may end later than the row says, the key's end is left alone unless
-- it is to be later still; and as that may be beyond the absolute deadline, here it is looked at.
do
  local call, sub = redis.call, string.sub
  local head = call('GETRANGE', KEYS[1], '0', '74')
  if sub(head, 2, 9) == ARGV[1] then
    local state, till, rest, late = sub(head, 1, 1), ARGV[3], nil, false
    if state == '\1' then rest = sub(head, 23, 35)
    elseif state == '\17' then rest = sub(head, 23)
    elseif state == '\33' then rest, late = sub(head, 23, 35), true
    elseif state == '\49' then rest, late = sub(head, 23), true end
    if rest and (#rest == 13 or #rest == 53) and not (late and ARGV[5] >= sub(rest, 1, 13)) then
      local before, absolute = sub(head, 10, 22), sub(rest, 1, 13)
      -- Text of one length and digits alone compares as the numbers do.
      if till < before then till = before end
      if till > absolute then till = absolute end
      local now = state .. ARGV[2] .. till .. rest
      if late then
        call('SET', KEYS[1], now .. ARGV[4], 'KEEPTTL')
        call('PEXPIREAT', KEYS[1], till, 'GT')
        return 1
      end
      call('SET', KEYS[1], now .. ARGV[4], 'PXAT', till)
      return now
    end
  end
end
