"""API keys and portal tokens over HTTP, and usage for a customer's own browser (`portal.py`).

Owns: their routes. Does not own: who may do what (core/access), checking a request (api/http/auth.py).
"""
