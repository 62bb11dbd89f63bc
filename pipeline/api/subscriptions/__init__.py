"""Routes about subscriptions of customers and their add-ons.

Owns: requests, answers. Does not own: what a subscription may be (core.subscriptions), deciding (the billing stage).
"""
