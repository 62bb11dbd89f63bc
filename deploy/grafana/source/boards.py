"""The dashboards: which questions each answers, and by what query."""

from __future__ import annotations

from deploy.grafana.source.panels import RATE, Graph, Rows, board, mean, percentiles, quantile, rate

HEALTH = [
    Graph("Events read", "short", "Events per second that each stage reads.", {
        "{{stage}}": rate("tallymark_events_in_total", "stage")}),
    Graph("Lag", "short", "Records that each stage has not read yet.", {
        "{{stage}}": "sum by (stage) (tallymark_lag_records)"}),
    Graph("From receipt to queryable usage", "s", "Time from the receipt of an event to its usage in ClickHouse.",
        percentiles("tallymark_freshness_seconds")),
    Graph("Fates", "short", "Events per second by fate; each event has exactly one.", {
        "{{fate}}": rate("tallymark_fates_total", "fate")}),
    Graph("Chunk time", "s", "From the start of a chunk to its commit, 99th percentile.", {
        "{{stage}}": quantile(0.99, "tallymark_chunk_seconds", "stage")}),
    Graph("Transaction time", "s", "To commit the transaction of a chunk, 99th percentile.", {
        "{{stage}}": quantile(0.99, "tallymark_transaction_seconds", "stage")}),
    Graph("Events in a chunk", "short", "Mean; it grows with the load, so that a commit costs less for each event.", {
        "{{stage}}": mean("tallymark_chunk_events", "stage")}),
    Graph("Restore", "s", "Mean time to take over all assigned partitions, since the worker started.", {
        "{{stage}}": "sum by (stage) (tallymark_restore_seconds_sum)"
            " / sum by (stage) (tallymark_restore_seconds_count)"}),
    Graph("State", "short", "Keys in the tables of each stage, estimated by RocksDB.", {
        "{{stage}}": "sum by (stage) (tallymark_state_keys)"}),
    Graph("Partitions", "short", "Input partitions that workers own. It must not fall.", {
        "{{stage}}": "sum by (stage) (tallymark_owned_partitions)"}),
    Graph("Services", "bool_yes_no", "Whether every worker gets answers from what it needs: 1 yes, 0 no.", {
        "{{need}}": "min by (need) (tallymark_need_up)"}),
    Graph("Workers", "short", "Workers that Prometheus can scrape.", {
        "{{stage}}": 'sum by (stage) (up{job="tallymark"})'}),
    Graph("Memory", "bytes", "Resident memory of the workers of each stage.", {
        "{{stage}}": 'sum by (stage) (process_resident_memory_bytes{job="tallymark"})'}),
    Graph("Processor", "percentunit", "Cores that the workers of each stage use.", {
        "{{stage}}": f'sum by (stage) (rate(process_cpu_seconds_total{{job="tallymark"}}[{RATE}]))'}),
    Graph("Inserts into ClickHouse", "s", "Time of one round of inserts.", percentiles("tallymark_insert_seconds")),
    Graph("Inserts that failed", "short", "Rounds per second: refused, or acknowledged and not stored.", {
        "refused": rate("tallymark_insert_failures_total"), "not stored": rate("tallymark_unstored_rounds_total")}),
    Graph("Rows written", "short", "Rows per second into each table of ClickHouse.", {
        "{{table}}": rate("tallymark_rows_total", "table")}),
    Graph("Bytes written", "Bps", "Into each topic.", {"{{topic}}": rate("tallymark_bytes_out_total", "topic")}),
    Graph("Refused by a meter", "short", "Events per second that a meter matches but cannot count.", {
        "{{meter}}: {{reason}}": rate("tallymark_refused_total", "meter, reason")}),
    Graph("Free disk", "bytes", "Of the file systems that hold state.", {
        "{{stage}}": "min by (stage) (tallymark_disk_free_bytes)"}),
]  # fmt: skip

NOTIFICATIONS = [
    Graph("Balances and alerts", "short", "Outcomes of the stage alert per second: balances, alerts by type.", {
        "{{outcome}}": rate("tallymark_outcomes_total", "outcome", '{stage="alert"}')}),
    Graph("From receipt to balance", "s", "Time from the receipt of an event to its balance in Redis.",
        percentiles("tallymark_balance_freshness_seconds")),
    Graph("Attempts", "short", "Attempts to send a webhook per second.", {
        "{{outcome}}": rate("tallymark_webhook_attempts_total", "outcome")}),
    Graph("From alert to delivery", "s", "Where the first attempt succeeded.",
        percentiles("tallymark_webhook_delivered_seconds")),
    Graph("Time of an attempt", "s", "The POST and the answer of its receiver.",
        percentiles("tallymark_webhook_try_seconds")),
    Graph("Waiting", "short", "Deliveries in progress.", {"deliveries": "sum(tallymark_webhooks_waiting)"}),
    Graph("Rebuilds of balances", "short", "Partitions per second that Redis had lost.", {
        "rebuilds": rate("tallymark_live_rebuilds_total")}),
    Graph("Lag", "short", "Records that have not been read yet.", {
        "{{stage}}": 'sum by (stage) (tallymark_lag_records{stage=~"attribute|alert|live|webhook"})'}),
]  # fmt: skip

STRIPE = [
    Graph("Calls", "short", "Calls to Stripe per second, by outcome.", {
        "{{outcome}}": rate("tallymark_stripe_requests_total", "outcome")}),
    Graph("Time of a call", "s", "Until Stripe answers.", percentiles("tallymark_stripe_request_seconds")),
    Graph("Customers with usage to send", "short", "Customers and mappings, over all partitions.", {
        "waiting": "sum(tallymark_stripe_lanes_waiting)"}),
    Graph("Oldest usage that waits", "s", "How long the oldest window that may be sent has waited.", {
        "longest": "max(tallymark_stripe_late_seconds)"}),
    Graph("Requests in progress", "short", "By kind.", {
        "{{kind}}": "sum by (kind) (tallymark_stripe_requests_waiting)"}),
    Graph("Units that Stripe does not take", "short", "Units per second, by cause.", {
        "{{cause}}": rate("tallymark_stripe_unsendable_units_total", "cause")}),
    Graph("Windows removed before they were sent", "short", "Per second. Always 0, or usage is missing at Stripe.", {
        "windows": rate("tallymark_stripe_past_windows_total")}),
    Graph("Differences found at Stripe", "short", "Windows that differ, by cause, as `stripe drift` found.", {
        "{{cause}}": "max by (cause) (tallymark_stripe_drift_windows)"}),
    Rows("Units by customer", "short", "Whole units that Stripe has confirmed, and that it should have.",
        "SELECT meter, customer, sum(toFloat64(confirmed)) AS confirmed_units, sum(toFloat64(wanted)) AS wanted_units"
        " FROM stripe_usage FINAL WHERE $__timeFilter(start) GROUP BY meter, customer"
        " ORDER BY wanted_units DESC LIMIT 50"),
]  # fmt: skip

BILLING = [
    Graph("Work", "short", "Records of the stage billing per second, by kind and problem.", {
        "{{outcome}}": rate("tallymark_outcomes_total", "outcome", '{stage="billing"}')}),
    Graph("What is due waits", "s", "How long what is due first on a bill has waited.", {
        "longest": "max(tallymark_billing_late_seconds)"}),
    Graph("Documents and bookings", "short", "Records per second that the stage billing writes, by topic.", {
        "{{topic}}": rate("tallymark_records_out_total", "topic", '{stage="billing"}')}),
    Graph("Numbers of invoices", "short", "Requests per second: numbered, or refused.", {
        "{{outcome}}": rate("tallymark_outcomes_total", "outcome", '{stage="numbering"}')}),
    Graph("Lag", "short", "Records that have not been read yet.", {
        "{{stage}}": 'sum by (stage) (tallymark_lag_records{stage=~"attribute|billing|numbering"})'}),
    Graph("Chunk time", "s", "Of billing, from the start of a chunk to its commit.",
        percentiles("tallymark_chunk_seconds", '{stage="billing"}')),
    Graph("State", "short", "Keys in the tables, estimated by RocksDB.", {
        "{{stage}}": 'sum by (stage) (tallymark_state_keys{stage=~"billing|numbering"})'}),
    Graph("Differences", "short", "Found by `tallymark reconcile` in events and in money.", {
        "{{of}}": "max by (of) (tallymark_reconcile_differences)"}),
]  # fmt: skip

USAGE = [
    Rows("Events counted, by meter", "short", "By the hour in which the events happened.",
        "SELECT toStartOfHour(start) AS time, meter, sum(count) AS events FROM windows FINAL"
        " WHERE $__timeFilter(start) GROUP BY time, meter ORDER BY time"),
    Rows("Sum of values, by meter", "short",
        "Right for meters SUM and COUNT; `tallymark usage` has the others, and the exact decimals.",
        "SELECT toStartOfHour(start) AS time, meter, toFloat64(sum(value)) AS amount FROM windows FINAL"
        " WHERE $__timeFilter(start) GROUP BY time, meter ORDER BY time"),
    Rows("Largest subjects", "short", "Subjects belong to customers.",
        "SELECT subject, meter, sum(count) AS events, toFloat64(sum(value)) AS amount FROM windows FINAL"
        " WHERE $__timeFilter(start) GROUP BY subject, meter ORDER BY events DESC LIMIT 50"),
    Rows("Fates, by hour", "short", "What became of the events of each hour.",
        "SELECT toStartOfHour(time) AS time, fate, count() AS events FROM events FINAL"
        " WHERE $__timeFilter(events.time) GROUP BY time, fate ORDER BY time"),
    Rows("Rejected, by reason", "short", "Kept with their bytes in the topic `rejected`.",
        "SELECT reason, source, count() AS events FROM events FINAL WHERE fate = 'rejected' AND $__timeFilter(time)"
        " GROUP BY reason, source ORDER BY events DESC LIMIT 50"),
    Rows("Refused by a meter", "short", "Events that a meter matches but cannot count.",
        "SELECT refused_meter AS meter, refused_reason AS why, count() AS events FROM events FINAL"
        " ARRAY JOIN refused_meters AS refused_meter, refused_reasons AS refused_reason"
        " WHERE $__timeFilter(time) GROUP BY meter, why ORDER BY events DESC LIMIT 50"),
]  # fmt: skip


def boards() -> dict[str, str]:
    """The JSON of each dashboard by the name of its file."""
    return {
        "health.json": board("tallymark-health", "Tallymark: pipeline",
            "Whether events flow, how late usage is, and what the workers cost.", HEALTH),
        "usage.json": board("tallymark-usage", "Tallymark: usage", "Usage as ClickHouse has it.", USAGE),
        "notifications.json": board("tallymark-notifications", "Tallymark: alerts and webhooks",
            "Balances, alerts on them, and the delivery of their webhooks.", NOTIFICATIONS),
        "stripe.json": board("tallymark-stripe", "Tallymark: Stripe",
            "Usage and invoices on their way to Stripe.", STRIPE),
        "billing.json": board("tallymark-billing", "Tallymark: billing",
            "Invoices, their numbers, and what waits.", BILLING),
    }  # fmt: skip
