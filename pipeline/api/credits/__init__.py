"""Routes about credits of customers and the ledger.

Does not own: what a grant is and pays (core.credits), what is booked (core.ledger), who decides (the billing stage).
"""
