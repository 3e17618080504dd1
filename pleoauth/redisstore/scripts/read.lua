-- read.lua: KEYS = record. Returns {run, seconds, microseconds, fields}.
-- A replica may be behind, and a master that was demoted does not tell its
-- clients: only a master's answer counts.
if string.match(redis.call('INFO', 'replication'), 'role:(%a+)') ~= 'master' then
	return redis.error_reply("READONLY records are read from the master only")
end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local now = redis.call('TIME')
return {run, now[1], now[2], redis.call('HGETALL', KEYS[1])}
