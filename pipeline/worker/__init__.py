"""One process, one stage: what it is made of, how it runs, its heartbeat.

Owns: `wiring.py`, the only place that knows what a stage needs; the process with its exit codes (`process.py`); the
record by which others see that a worker lives (`heartbeat.py`). Does not own: what a stage does (agents), keeping
processes running (local/supervisor.py, or Kubernetes). Start at `wiring.py`.
"""
