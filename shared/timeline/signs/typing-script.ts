/**
 * Functions of the scripts that change who is typing in a room. `K` holds the keys `typing`, `due`, `signs`, `signsDue`.
 *
 * A room's hash has one field for each person and source: `a<ref>` of our API, `m<ref>` of Matrix, with `<until> <since> <person
 * as JSON>`; `e<ref>`, until when what Matrix says of the person is our own sign; `head`, `<people at most> <room's id> <live
 * channel> <room's key as JSON>`; and `list`, what was published last.
 */
export const TYPING_FUNCTIONS = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Four keys, from the i-th on.
local function keysFrom(i) return {typing = KEYS[i], due = KEYS[i + 1], signs = KEYS[i + 2], signsDue = KEYS[i + 3]} end

-- Matrix is to have it that a person types, or types no more.
local function queueTyping(K, roomId, ref, isTyping)
  redis.call('HSET', K.signs, 't' .. ref, isTyping)
  redis.call('PEXPIRE', K.signs, 60000)
  redis.call('ZADD', K.signsDue, 'NX', now, roomId)
end

-- Drops who has ended, and publishes the list when it is not the last one.
local function publishTyping(K, roomId)
  local fields = redis.call('HGETALL', K.typing)
  local head, last, people, known, first = nil, '[]', {}, {}, nil
  for i = 1, #fields, 2 do
    local name, value = fields[i], fields[i + 1]
    local source, ref = string.sub(name, 1, 1), string.sub(name, 2)
    if name == 'head' then head = value
    elseif name == 'list' then last = value
    elseif source ~= 'e' then
      local ends, since, person = string.match(value, '^(%d+) (%d+) (.*)$')
      if tonumber(ends) <= now then
        redis.call('HDEL', K.typing, name)
        if source == 'a' then queueTyping(K, roomId, ref, '0') end
      else
        if not first or tonumber(ends) < first then first = tonumber(ends) end
        if not known[ref] then
          known[ref] = true
          people[#people + 1] = {tonumber(since), ref, person}
        end
      end
    elseif tonumber(value) <= now then redis.call('HDEL', K.typing, name) end
  end
  if not first then redis.call('ZREM', K.due, roomId) end
  if not head then return end
  table.sort(people, function(a, b)
    if a[1] == b[1] then return a[2] < b[2] end
    return a[1] < b[1]
  end)
  local most, channel, room = string.match(head, '^(%d+) %S+ (%S+) (.*)$')
  local texts = {}
  for i = 1, math.min(#people, tonumber(most)) do texts[i] = people[i][3] end
  local list = '[' .. table.concat(texts, ',') .. ']'
  if list ~= last then
    redis.call('HSET', K.typing, 'list', list)
    local data = '{"type":"typing","room":' .. room .. ',"users":' .. list .. '}'
    redis.call('PUBLISH', channel, '{"number":null,"epoch":"","leaver":null,"data":' .. cjson.encode(data) .. '}')
  end
  if first then redis.call('ZADD', K.due, first, roomId) end
  redis.call('PEXPIRE', K.typing, 180000)
end

-- A person's message ends that the person types. Refs of persons, separated by spaces.
local function endTyping(K, refs)
  local head = refs ~= '' and redis.call('HGET', K.typing, 'head')
  if not head then return end
  local roomId = string.match(head, '^%d+ (%S+)')
  for ref in string.gmatch(refs, '%S+') do
    if redis.call('HDEL', K.typing, 'a' .. ref) == 1 then queueTyping(K, roomId, ref, '0') end
    redis.call('HDEL', K.typing, 'm' .. ref)
  end
  publishTyping(K, roomId)
end
`;
