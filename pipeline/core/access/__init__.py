"""Who may ask: API keys with scopes, and portal tokens for a customer's browser.

Owns: what a key or a token may do, its commands (create, rotate, revoke, invalidate), and how a key is written
(`key_text.py`: prefix, public part, secret, checksum). Does not own: checking a request (api/http/auth.py), or the JWT
around a portal token (api/http/portal_jwt.py). Only a digest of a key's secret is stored. Start at `api_key.py`.
"""
