"""Customers and subjects over HTTP, and whose usage a subject's is when a query asks. Start at `customers.py`.

Owns: their routes and JSON. Does not own: the rules (core/customers).
"""
