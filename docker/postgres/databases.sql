-- Run once, by the image, when the data directory is made: a role and databases for each program,
-- which cannot enter those of the other.
\getenv cloudsweep_password POSTGRES_CLOUDSWEEP_PASSWORD
\getenv temporal_password POSTGRES_TEMPORAL_PASSWORD

CREATE ROLE cloudsweep LOGIN PASSWORD :'cloudsweep_password';
CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';

CREATE DATABASE cloudsweep OWNER cloudsweep;
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;

REVOKE ALL ON DATABASE cloudsweep, temporal, temporal_visibility FROM PUBLIC;
