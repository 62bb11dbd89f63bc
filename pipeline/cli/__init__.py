"""The `tallymark` commands."""
