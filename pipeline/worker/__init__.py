"""One process that runs one stage: its parts, its life cycle, its heartbeat.

Owns: `wiring.py`, the only place that knows the parts of each stage; the process with its exit codes (`process.py`);
the heartbeat by which the API sees the worker (`heartbeat.py`). Does not own: the work of a stage (agents), keeping
processes running (local/supervisor.py, or Kubernetes). Start at `wiring.py`.
"""
