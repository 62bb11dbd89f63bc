"""The ledger: double-entry bookkeeping of what customers hold and owe, and of what was earned.

Owns: postings, transactions that sum to zero, what an invoice books, trial balances. Does not own: credits and their
grants (credits), when something is booked (bills), the topic `ledger`.

Signs are those of the party's claim: `customer_fbo` + is credit that a customer holds, `customer_receivable` - is what
it owes, `customer_accrued` + is usage that is not earned yet, `wash` - is money that came in from outside.
"""
