-- read.lua: KEYS = record. Returns {run, seconds, microseconds, fields}.
-- A replica may be behind, and a master that was demoted does not tell its
-- clients: only a master's answer counts.
local replication = redis.call('INFO', 'replication')
if string.match(replication, 'role:(%a+)') ~= 'master' then
	return redis.error_reply("READONLY records are read from the master only")
end
-- run_id alone stays the same for a server that was master, replica, and is
-- master again; its replication id is another one after each promotion.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
if run ~= '' then
	run = run .. '.' .. (string.match(replication, 'master_replid:(%x+)') or '')
end
local now = redis.call('TIME')
return {run, now[1], now[2], redis.call('HGETALL', KEYS[1])}
