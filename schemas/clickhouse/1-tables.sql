-- The tables, in types and syntax that ClickHouse 18.16 and every later version support.
-- Each is read with FINAL: a row that is written again with the same sort key replaces the earlier one.
-- `insert_id` is the attempt that wrote a row, so that the sink can count the stored rows.
-- Statements end with a semicolon at the end of a line. A column that is added here is added to existing tables too.

-- One row per input record, with any fate. The sort key depends on that record alone, so a replay replaces the row.
-- A record that ingest rejected has the broker's time in `time` and its bytes as text in `raw`; every other record has
-- the JSON text of its data in `data`.
-- `decided` is the control revision at which aggregate decided the event; `revision` is the same, or the id of the
-- meter whose backfill changed the row last. `fate_before` is the fate before that backfill; `backfilled` holds the
-- ids of the meters whose backfills counted the event; their slugs are also at the end of `meters`.
-- `rules` is the version of the rules by which values and dimensions were read (0: numbers by their spelling, 1: numbers
-- in canonical form), `backfilled_rules` that of each of `backfilled`. The four `refused_*` are one list: the meters that
-- matched the event but refused it, even if others counted it.
-- `position` is the offset of the event's record in `events-unique` plus 1: a window whose revision is not below that
-- offset has the event. `backfilled_positions` is that of each of `backfilled`, in `backfill-work`. 0: unknown.
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
    position UInt64,
    backfilled_positions Array(UInt64),
    insert_id UInt64
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(time)
ORDER BY (namespace, time, input_topic, input_partition, input_offset);

-- One row per minute window of a meter, subject and set of dimensions: its absolute state.
-- `part` is 0 for events counted on arrival, 1 for those that a backfill counted: the window is both together.
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

-- One row per distinct member of a UNIQUE_COUNT meter in a window. It is a set, so repeats are harmless.
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

-- One row per window of usage that is sent to Stripe, in its newest state. Units are whole units of Stripe, as decimal
-- text like `exact`, since a multiplier may make them larger than any integer of ClickHouse.
-- `mapping` is the id of the stripe-meter, `customer` that of the customer; `dimensions` is canonical JSON.
-- `cause` is that of the units in `unsendable`: refused, too_old or blocked; empty where there are none.
CREATE TABLE IF NOT EXISTS stripe_usage
(
    namespace String,
    app String,
    mapping String,
    meter String,
    customer String,
    dimensions String,
    start DateTime('UTC'),
    end_at DateTime('UTC'),
    exact String,
    wanted String,
    confirmed String,
    unsendable String,
    pending String,
    cause String,
    message String,
    requests UInt64,
    revision UInt64,
    at_ms Int64,
    stored_at_ms Int64,
    insert_id UInt64
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(start)
ORDER BY (namespace, mapping, customer, start, dimensions);

-- One row per barrier in a partition: everything before it in that partition is stored.
CREATE TABLE IF NOT EXISTS marks
(
    mark String,
    topic String,
    partition UInt32,
    insert_id UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (mark, topic, partition);
