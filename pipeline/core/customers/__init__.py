"""Who pays, and whose usage it is.

Owns: customers, subjects, and the attribution of a subject's usage: the customer that had the subject when a minute
began has its usage, and the first customer of a subject has all usage before (`attribution.py`). Does not own: usage
itself (metering), balances (quota). Start at `customer.py`; its doctests in `attribution.py` show a subject that moves.
"""
