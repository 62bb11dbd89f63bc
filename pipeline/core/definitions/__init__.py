"""What every kind of definition shares: meters, features, customers, entitlements, rules, endpoints, keys.

A definition is decided by a command, published on the compacted topic `control`, and held in memory by every process.

Owns: the kinds and their handles (`kinds.py`), the index by which they are found (`index.py`), reading a command's body
member by member (`body.py`), what a decider gets and returns (`context.py`), the audit log's hash chain (`audit.py`),
the records in a stream behind which a revision holds (`barrier.py`). Does not own: what any one kind means; that is its
subject's package, next to its commands. Start at `context.py`.
"""
