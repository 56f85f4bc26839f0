#!/bin/sh
# Runs once, when the database cluster is made: Synapse has a user and a database of its own.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres --set password="$SYNAPSE_POSTGRES_PASSWORD" <<'SQL'
create role synapse login password :'password';
create database synapse owner synapse encoding 'UTF8' lc_collate 'C' lc_ctype 'C' template template0;
SQL
