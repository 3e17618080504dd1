#!/bin/sh
# Makes the ACL file of the mounted password and rules, and becomes the server.
# Nobody may do anything but the user pleo, with the least rights, and the user
# probe, who may ping.
set -eu
umask 077
password=$(cat /run/secrets/pleo-redis/redis_password)
test -n "$password"
hash=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)
rules=$(tr '\n' ' ' </etc/pleo-redis/pleo.acl)
{
	echo "user default off"
	echo "user probe on nopass resetkeys resetchannels -@all +ping"
	echo "user pleo on #$hash $rules"
} >/run/redis/users.acl
exec redis-server /etc/pleo-redis/redis.conf
