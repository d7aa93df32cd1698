#!/bin/sh
# Makes auth/passwd from the users' secret (lines `user:password`), then becomes the broker. Run in the directory that
# holds config/, auth/ and data/.
set -eu
umask 077
users=${MQTT_USERS_FILE:-/run/secrets/mqtt_users}
if grep -Evn '^[A-Za-z0-9._-]+:.+$' "$users" >/dev/null; then
    echo "start.sh: each line of $users must be user:password, the user of letters, digits and . _ - only" >&2
    exit 1
fi
health=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
{ cat "$users"; echo "health:$health"; } >auth/passwd
mosquitto_passwd -U auth/passwd
# Options of mosquitto_sub for the health check, in a file because a command line is open to everyone on the machine.
printf '%s\n' '-h 127.0.0.1' '-u health' "-P $health" >auth/mosquitto_sub
# Mosquitto warns of rules that others can read, and announces that it will refuse them: a copy of its own. With what
# agents.sh has written of agents on site.
cat config/acl >auth/acl
[ ! -f certs/agents.acl ] || cat certs/agents.acl >>auth/acl
exec mosquitto -c config/mosquitto.conf
