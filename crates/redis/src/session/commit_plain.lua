-- The commit that nearly all are: the session lives, and nobody else was first. It looks at the head of the row alone and
-- does without the prelude, which halves its time. Whatever else there is follows below, where it is told apart.
-- ARGV: expected version, idle ms, absolute ms, payload.
do
  local head = redis.call('GETRANGE', KEYS[1], 0, 72)
  if #head >= 33 then
    local state, version, till, absolute = struct.unpack('>BI8I8I8', head)
    if (state == 1 or (state == 17 and #head == 73)) and version == tonumber(ARGV[1]) then
      local time = redis.call('TIME')
      local now = time[1] * 1000 + math.floor(time[2] / 1000)
      if now < till then
        local never = 9007199254740991
        absolute = math.min(now + ARGV[3], never, absolute)
        till = math.min(math.max(math.min(now + ARGV[2], never), till), absolute)
        local owner = state == 17 and string.sub(head, 34) or ''
        redis.call('SET', KEYS[1], struct.pack('>BI8I8I8I8', state, version + 1, till, absolute, 0) .. owner .. ARGV[4],
          'PXAT', string.format('%.0f', till))
        return {5, version + 1}
      end
    end
  end
end

