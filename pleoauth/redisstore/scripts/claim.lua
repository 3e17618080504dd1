-- claim.lua: KEYS = changes, change. ARGV = connection, claim, lease (milliseconds).
-- Returns {seen, at, age, told} of a change that is claimed now, {} of one that
-- is not to be looked at now or is another's.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function field(name) return redis.call('HGET', KEYS[2], name) or '' end
local function look(at)
	at = string.format('%.0f', at)
	redis.call('HSET', KEYS[2], 'due', at)
	redis.call('ZADD', KEYS[1], at, ARGV[1])
end

local due = tonumber(field('due'))
if not due then
	redis.call('ZREM', KEYS[1], ARGV[1])
	return {}
end
if due > now then
	return {}
end
local lapses = tonumber(field('until')) or 0
if lapses > now then
	look(lapses)
	return {}
end
look(now + ARGV[3])
redis.call('HSET', KEYS[2], 'claim', ARGV[2], 'until', string.format('%.0f', now + ARGV[3]))
local at = tonumber(field('at')) or now
return {field('seen'), string.format('%.0f', at), string.format('%.0f', now - at), field('told')}
