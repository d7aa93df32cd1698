#!/bin/sh
# Makes the role that the gateway connects as. Run once by the image, on an empty volume, after it made the extension.
# Owner of its database and nothing more: a superuser would pass every row policy and every revoked privilege unseen.
# As `meter_gateway` its connections work: that may add to what is kept for good, and neither change nor remove it.
set -eu
: "${DATABASE_PASSWORD_FILE:=/run/secrets/database_password}"
export DATABASE_PASSWORD_FILE
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
\set password `cat "$DATABASE_PASSWORD_FILE"`
SET log_statement = 'none';
CREATE ROLE meter LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'password';
CREATE ROLE meter_gateway NOLOGIN;
GRANT meter_gateway TO meter;
SELECT format('ALTER DATABASE %I OWNER TO meter', current_database()) \gexec
ALTER SCHEMA public OWNER TO meter;
SQL
