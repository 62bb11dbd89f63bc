"""From an entitlement and its grants to a balance.

Owns: entitlements and grants with their commands, the terms that a balance depends on (`terms.py`), the burn-down of
grants (`burndown.py`), the balance as a state machine that usage, time and changed terms move (`balance.py`), usage
that arrived late (`late_usage.py`) and the history (`history.py`).

Does not own: alerts about a balance (notifications), requests and answers (api/quota), the table (agents/alert).
Start at `burndown.py`, which has worked examples, then read `balance.py`: it has the same result, updated by each
record instead of computed from the beginning. `tests/core/quota/test_balance_laws.py` compares the two.
"""
