#!/bin/sh
# Writes what the broker has to know of agents on site into DIRECTORY: who signs their certificates, which of these were
# taken back, what each agent may. After it the broker is restarted, which keeps its queues.
#   agents.sh DIRECTORY COMMAND...     COMMAND runs `meter`, like: docker compose run --rm -T gateway
set -eu
directory=$1
shift
for part in ca crl acl; do
    "$@" edges "$part" >"$directory/agents.$part.new"
done
for part in ca crl acl; do
    mv "$directory/agents.$part.new" "$directory/agents.$part"
done
