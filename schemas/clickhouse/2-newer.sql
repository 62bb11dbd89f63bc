-- What servers from version 21 on offer beyond 1-tables.sql. Nothing depends on it; it only makes reads cheaper.

ALTER TABLE events ADD INDEX IF NOT EXISTS by_id id TYPE bloom_filter GRANULARITY 4;
ALTER TABLE events ADD INDEX IF NOT EXISTS by_subject subject TYPE bloom_filter GRANULARITY 4;

-- Ids grow, so what an attempt has stored is found without reading older rows.
ALTER TABLE events ADD INDEX IF NOT EXISTS by_insert insert_id TYPE minmax GRANULARITY 1;
ALTER TABLE windows ADD INDEX IF NOT EXISTS by_insert insert_id TYPE minmax GRANULARITY 1;
ALTER TABLE uniques ADD INDEX IF NOT EXISTS by_insert insert_id TYPE minmax GRANULARITY 1;
