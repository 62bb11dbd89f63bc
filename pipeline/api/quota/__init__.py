"""Entitlements, grants and balances over HTTP.

Owns: routes by customer and by subject, current values and checks from Redis (`live_values.py`), values at another time
and histories, which are counted from ClickHouse (`values.py`, `recount.py`). Does not own: how a balance is computed
(core/quota). Start at `entitlements.py`.
"""
