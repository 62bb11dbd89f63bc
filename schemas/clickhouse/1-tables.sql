-- The tables, in the types and syntax that ClickHouse 18.16 and every later version know.
-- Each is read with FINAL: a row written again under the same sort key replaces the one before.
-- `insert_id` names the attempt to write that brought a row, so that the sink can count what is stored.
-- Statements end with a semicolon at the end of a line. A column that is added here is added to existing tables too.

-- One row for each input record, whatever became of it. The sort key is a function of that record alone,
-- so a replay replaces. A record that ingest refused has the broker's time in `time` and its bytes as text in
-- `raw`; every other one has the JSON text of its data in `data`.
-- `decided` is the control revision at which aggregate decided the event; `revision` is the same, or the id of the
-- meter whose backfill changed the row last. `fate_before` is the fate before that backfill; `backfilled` holds the
-- ids of the meters that counted the event by a backfill, whose slugs stand at the end of `meters` too.
-- `rules` is the version of the rules by which values and dimensions were read (0: numbers by their spelling, 1: numbers
-- in canonical form), `backfilled_rules` that of each of `backfilled`. The four `refused_*` are one list: the meters that
-- wanted the event and did not take it, also where others counted it.
CREATE TABLE IF NOT EXISTS events
(
    namespace String,
    source String,
    id String,
    type String,
    subject String,
    time DateTime('UTC'),
    time_ns Int64,
    received_at_ms Int64,
    stored_at_ms Int64,
    data String,
    raw String,
    fate String,
    reason String,
    detail String,
    meters Array(String),
    input_topic String,
    input_partition UInt32,
    input_offset UInt64,
    revision UInt64,
    decided UInt64,
    fate_before String,
    backfilled Array(UInt64),
    backfilled_rules Array(UInt8),
    rules UInt8,
    refused_ids Array(UInt64),
    refused_meters Array(String),
    refused_reasons Array(String),
    refused_details Array(String),
    insert_id UInt64
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(time)
ORDER BY (namespace, time, input_topic, input_partition, input_offset);

-- One row for each minute window of a meter, subject and set of dimensions: its absolute state.
-- `part` is 0 for events counted as they came, 1 for those that a backfill counted: the window is both together.
-- `dimensions` is canonical JSON; `value` is the sum for SUM and AVG; `latest_order` sorts LATEST.
CREATE TABLE IF NOT EXISTS windows
(
    namespace String,
    meter String,
    meter_id UInt64,
    subject String,
    dimensions String,
    dimension_names Array(String),
    dimension_values Array(String),
    start DateTime('UTC'),
    part UInt8,
    value Decimal(38, 18),
    count UInt64,
    latest_order String,
    revision UInt64,
    received_at_ms Int64,
    stored_at_ms Int64,
    insert_id UInt64
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(start)
ORDER BY (namespace, meter_id, subject, start, dimensions, part);

-- One row for each distinct member that a UNIQUE_COUNT meter saw in a window. A set: repeats do no harm.
CREATE TABLE IF NOT EXISTS uniques
(
    namespace String,
    meter_id UInt64,
    subject String,
    dimensions String,
    dimension_names Array(String),
    dimension_values Array(String),
    start DateTime('UTC'),
    member String,
    insert_id UInt64
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(start)
ORDER BY (namespace, meter_id, subject, start, dimensions, member);

-- One row for each mark that came through a partition: whatever stood before it there is stored.
CREATE TABLE IF NOT EXISTS marks
(
    mark String,
    topic String,
    partition UInt32,
    insert_id UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (mark, topic, partition);
