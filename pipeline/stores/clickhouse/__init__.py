"""ClickHouse: its tables, connections, inserts and queries.

Owns: the schema (`schemas/clickhouse`), inserts by column and queries with bound parameters (`client.py`), two
transports (`http.py` for chDB and servers, `native.py`), rows of each record (`rows.py`), and the queries: usage,
events, totals, windows, pages of a backfill. No value is ever formatted into SQL: a test reads every query.

Does not own: what a query means (core/metering/usage_query.py), or when rows are written (agents/sink.py).
Start at `client.py`.
"""
