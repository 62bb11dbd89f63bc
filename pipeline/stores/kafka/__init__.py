"""Kafka outside of the engine: topics, views of compacted topics, and the writers of the API.

Owns: the topics as `topics/*.toml` declares them (`topics.py`), clients and their configuration (`client.py`),
compacted topics held in memory (`view.py` and the views over it: definitions, alerts, audit), records that a process
writes and waits for (`writer.py` and the writers over it: commands, events, webhooks).

Does not own: a stage's transactions and state (engine). Start at `topics.py`, then `view.py`.
"""
