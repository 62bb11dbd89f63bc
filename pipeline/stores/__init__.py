"""The outside systems, one module or package each: Kafka, ClickHouse, Redis, webhook endpoints.

Owns: connections, queries, and turning a system's failure into `Unavailable` with its own message. Does not own: any
rule (core), exactly-once writing of a stage's outputs (engine), what is read when (agents, api).

No store imports another. Contract suites run on the real service: chDB and clickhouse-server, a real broker, a real
Redis. Start at `clickhouse/client.py` or `kafka/view.py`.
"""
