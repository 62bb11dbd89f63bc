"""Entitlements, grants and balances over HTTP."""
