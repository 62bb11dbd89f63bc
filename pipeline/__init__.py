"""Tallymark: CloudEvents in, exact usage out."""
