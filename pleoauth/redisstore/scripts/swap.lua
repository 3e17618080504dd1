-- swap.lua: KEYS = record, lock, index, names, changes, change.
-- ARGV = expected revision, expected run, lock token, new revision, connection,
-- due (milliseconds, or ''), listed ('1' or ''), channel, notice, noted ('1' or
-- ''), then the fields and values of the record; none: the record is removed.
-- Returns {status, run, seconds, microseconds, replicas, had}; status is OK,
-- CONFLICT or LOCK, replicas how many are in step with this master, had 1 if it
-- has or had some within the hour (repl-backlog-ttl), or was one itself.
local replication = redis.call('INFO', 'replication')
local _, replicas = string.gsub(replication, 'state=online', '')
local had = tonumber(string.match(replication, 'repl_backlog_active:(%d)')) or 0
-- As in read.lua.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
if run ~= '' then
	run = run .. '.' .. (string.match(replication, 'master_replid:(%x+)') or '')
end
local now = redis.call('TIME')
local revision = redis.call('HGET', KEYS[1], 'rev')

-- The same swap, delivered twice.
if revision and revision == ARGV[4] then
	return {'OK', run, now[1], now[2], replicas, had}
end
if run == '' or run ~= ARGV[2] then
	return {'CONFLICT', run, now[1], now[2], replicas, had}
end
if revision then
	if revision ~= ARGV[1] then
		return {'CONFLICT', run, now[1], now[2], replicas, had}
	end
elseif ARGV[1] ~= '' or redis.call('EXISTS', KEYS[1]) == 1 then
	return {'CONFLICT', run, now[1], now[2], replicas, had}
end
if ARGV[3] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[3] then
	return {'LOCK', run, now[1], now[2], replicas, had}
end

-- DEL comes first: Redis refuses it in no memory shortage, and nothing after it. What
-- the record's change leads to comes next, then what a sweep finds anyway, then the
-- notice, which may fail: a user without rights to channels must not lose the rest.
redis.call('DEL', KEYS[1])
if #ARGV > 10 then
	redis.call('HSET', KEYS[1], 'rev', ARGV[4], unpack(ARGV, 11))
end
if ARGV[10] ~= '' then
	local at = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
	redis.call('HSET', KEYS[6], 'seen', ARGV[4], 'at', at, 'due', at)
	redis.call('ZADD', KEYS[5], at, ARGV[5])
end
if ARGV[6] ~= '' then
	redis.call('ZADD', KEYS[3], ARGV[6], ARGV[5])
else
	redis.call('ZREM', KEYS[3], ARGV[5])
end
if ARGV[7] ~= '' then
	redis.call('ZADD', KEYS[4], 0, ARGV[5])
else
	redis.call('ZREM', KEYS[4], ARGV[5])
end
if ARGV[9] ~= '' then
	redis.pcall('PUBLISH', ARGV[8], ARGV[9])
end
return {'OK', run, now[1], now[2], replicas, had}
