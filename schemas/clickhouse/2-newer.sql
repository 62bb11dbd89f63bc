-- Additions to 1-tables.sql for servers of version 21 or newer. Nothing depends on them; they only make reads cheaper.

ALTER TABLE events ADD INDEX IF NOT EXISTS by_id id TYPE bloom_filter GRANULARITY 4;
ALTER TABLE events ADD INDEX IF NOT EXISTS by_subject subject TYPE bloom_filter GRANULARITY 4;

-- Ids grow, so the rows of an attempt are found without reading older rows.
ALTER TABLE events ADD INDEX IF NOT EXISTS by_insert insert_id TYPE minmax GRANULARITY 1;
ALTER TABLE windows ADD INDEX IF NOT EXISTS by_insert insert_id TYPE minmax GRANULARITY 1;
ALTER TABLE uniques ADD INDEX IF NOT EXISTS by_insert insert_id TYPE minmax GRANULARITY 1;
ALTER TABLE stripe_usage ADD INDEX IF NOT EXISTS by_insert insert_id TYPE minmax GRANULARITY 1;
