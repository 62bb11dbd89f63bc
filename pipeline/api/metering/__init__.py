"""Events, meters and usage over HTTP.

Owns: `POST /events` (all of a request or none, acknowledged by the broker), stored events with their fates, meters and
their backfills, usage queries as JSON and CSV. Does not own: what is counted (core/metering). Start at `ingest.py`.
"""
