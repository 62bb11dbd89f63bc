"""From a rule to an alert to a delivered webhook.

Owns: rules and endpoints with their commands, which thresholds a balance has reached and which of them fire
(`threshold.py`), alerts of balances and volumes with their payloads, one delivery from its first attempt to its end
(`delivery.py`), signatures (`standard_webhooks.py`), and which addresses a webhook may reach (`safe_address.py`).

Does not own: balances (quota), sending (agents/webhook, stores/webhook_http). Start at `threshold.py`.
"""
