"""Values that every subject uses: numbers, timestamps, calendars, windows of time, paths, filters, sealed texts.

Owns: how each is parsed strictly from outside text, kept exactly, and written in one spelling. Does not own: any
meaning in metering or money. Nothing here imports another package of the project but `errors`.

Start at `number.py` (38 digits, 18 after the point, never rounded), `timestamp.py` (RFC 3339 to integer nanoseconds)
and `calendar.py` (intervals that recur: usage periods, grants, billing). `money.py` has the one rounding of amounts.
`strict_json.py` reads the JSON of others: one text has one meaning, and whatever is ambiguous is refused. `table.py`
declares what a rule may ask of a stage's state.
"""
