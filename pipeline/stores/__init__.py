"""The external systems, one module or package each: Kafka, ClickHouse, Redis, webhook endpoints.

Owns: connections, queries, and turning a system's failure into `Unavailable` with its own message. Does not own: rules
(core), the exactly-once output of a stage (engine), when something is read or written (agents, api).

No store imports another. Contract suites run on the real service: chDB and clickhouse-server, a real broker, a real
Redis. Start at `clickhouse/client.py` or `kafka/view.py`.
"""
