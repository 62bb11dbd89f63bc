"""The whole stack on this machine, from package registries: no Docker, no Java to install.

Owns: a Kafka broker, chDB as ClickHouse, Redis, every stage and the API as child processes (`stack.py`), restarting
what dies (`supervisor.py`), the stack's own secrets. Does not own: what a stage does. A child never outlives
its parent. Start at `stack.py`.
"""
