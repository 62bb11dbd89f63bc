"""Status, reconciliation and the audit log over HTTP: what an operator asks.

Owns: their routes. Does not own: whether counts agree (core/metering/reconcile.py). Start at `status.py`.
"""
