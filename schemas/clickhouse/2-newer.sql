-- What servers from version 21 on offer beyond 1-tables.sql. Nothing depends on it; it only makes reads cheaper.

ALTER TABLE events ADD INDEX IF NOT EXISTS by_id id TYPE bloom_filter GRANULARITY 4;
ALTER TABLE events ADD INDEX IF NOT EXISTS by_subject subject TYPE bloom_filter GRANULARITY 4;
