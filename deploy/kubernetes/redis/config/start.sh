#!/bin/sh
# Makes the ACL file of the mounted password and rules, and becomes the server.
# Two users can log in: pleo, with the least rights, and probe, which may ping.
# The user default is off, and keeps its rights all the same: Redis replays its
# append-only file as that user, and refuses it every transaction otherwise.
set -eu
umask 077
password=$(cat /run/secrets/pleo-redis/redis_password)
test -n "$password"
hash=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)
rules=$(tr '\n' ' ' </etc/pleo-redis/pleo.acl)
{
	echo "user default off allkeys allchannels allcommands"
	echo "user probe on nopass resetkeys resetchannels -@all +ping"
	echo "user pleo on #$hash $rules"
} >/run/redis/users.acl
sh /etc/pleo-redis/swap.sh
exec redis-server /etc/pleo-redis/redis.conf
