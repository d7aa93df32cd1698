#!/bin/sh
# Makes the role that the gateway connects as. Run once by the image, on an empty volume, after it made the extension.
# Owner of its database and nothing more: a superuser would pass every row policy and every revoked privilege unseen.
set -eu
: "${DATABASE_PASSWORD_FILE:=/run/secrets/database_password}"
export DATABASE_PASSWORD_FILE
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
\set password `cat "$DATABASE_PASSWORD_FILE"`
SET log_statement = 'none';
CREATE ROLE meter LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'password';
SELECT format('ALTER DATABASE %I OWNER TO meter', current_database()) \gexec
ALTER SCHEMA public OWNER TO meter;
SQL
