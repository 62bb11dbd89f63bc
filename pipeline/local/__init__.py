"""The whole stack on this machine, installed from package registries: no Docker, no Java installation.

Owns: Kafka, chDB as ClickHouse, Redis, every stage and the API as child processes (`stack.py`), restarting them
(`supervisor.py`), the secrets of the stack. Does not own: the work of a stage. A child never outlives its parent.
Start at `stack.py`.
"""
