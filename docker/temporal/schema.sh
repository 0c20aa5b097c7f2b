#!/bin/sh
# Bring Temporal's two databases to the schema of this image; SQL_* say where they are. Safe to run
# again: an upgrade does.
set -eu
for each in temporal:temporal temporal_visibility:visibility; do
  export SQL_DATABASE="${each%:*}"
  temporal-sql-tool setup-schema --version 0.0
  temporal-sql-tool update-schema \
    --schema-dir "/etc/temporal/schema/postgresql/v12/${each#*:}/versioned"
done
