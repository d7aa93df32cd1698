#!/bin/sh
# Makes auth/passwd from the users' secret (lines `user:password`), then becomes the broker. Run in the directory that
# holds config/, auth/ and data/.
set -eu
umask 077
users=${MQTT_USERS_FILE:-/run/secrets/mqtt_users}
if grep -Evn '^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+){0,2}:.+$' "$users" >/dev/null; then
    echo "start.sh: each line of $users must be user:password, the user SITE, SITE/KIND or SITE/KIND/DEVICE" \
        "of letters, digits and . _ - only" >&2
    exit 1
fi
if grep -E '^(health:|(gateway|health)/|[^/:]+/(acks|clocks)[/:])' "$users" >/dev/null; then
    echo "start.sh: no user of $users may be named health, gateway/..., SITE/acks or SITE/clocks: what stands there" \
        "is the gateway's" >&2
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
# What agents without a certificate are told: with the site's password those of the site, with one of its own each its own.
cut -d: -f1 "$users" | awk -F/ '
    function told(site, edge) {
        printf "\nuser %s\ntopic read spaces/%s/acks/%s\ntopic read spaces/%s/clocks/%s\n", $0, site, edge, site, edge
    }
    NF == 1 && $1 != "gateway" { told($1, "+") }
    NF == 3 && $2 == "edge" { told($1, $3) }' >>auth/acl
[ ! -f certs/agents.acl ] || cat certs/agents.acl >>auth/acl
exec mosquitto -c config/mosquitto.conf
