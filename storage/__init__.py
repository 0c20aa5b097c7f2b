"""Everything PostgreSQL: tables, sessions, staging, merge, read queries, migrations."""
