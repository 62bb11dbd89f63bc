"""Kafka outside the engine: topics, views of compacted topics, and the writers of the API.

Owns: the topics as `topics/*.toml` declares them (`topics.py`), clients and their configuration (`client.py`),
compacted topics in memory (`view.py` and the views built on it: definitions, alerts, audit), records that a process
publishes and waits for (`writer.py` and the writers built on it: commands, events, webhooks).

Does not own: a stage's transactions and state (engine). Start at `topics.py`, then `view.py`.
"""
