"""Customers and subjects over HTTP."""
