-- finish.lua: KEYS = changes, change. ARGV = connection, claim, seen, told,
-- lease (milliseconds, or ''), again (milliseconds, or ''). With a lease the
-- claim is kept, without it the change is finished. Returns OK or LOST.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('HGET', KEYS[2], 'claim') ~= ARGV[2] then
	return 'LOST'
end
local lapses, due = '0', ''
local changed = redis.call('HGET', KEYS[2], 'seen') ~= ARGV[3]
if ARGV[5] ~= '' then
	lapses = string.format('%.0f', now + ARGV[5])
	due = lapses
elseif changed then
	due = string.format('%.0f', now)
elseif ARGV[6] ~= '' then
	due = string.format('%.0f', now + ARGV[6])
end
if due ~= '' then
	redis.call('ZADD', KEYS[1], due, ARGV[1])
else
	redis.call('ZREM', KEYS[1], ARGV[1])
	if ARGV[4] == '' then
		redis.call('DEL', KEYS[2])
		return 'OK'
	end
end
redis.call('HSET', KEYS[2], 'told', ARGV[4], 'until', lapses, 'due', due)
if ARGV[5] == '' then
	redis.call('HSET', KEYS[2], 'claim', '')
end
return 'OK'
