"""What the API answers, request by request, recorded in `tests/api/recorded/`.

Owns: the requests (`metering.py`, `quota.py`, ...), what they need (`world.py`), the form of the files (`recorder.py`).
Does not own: the comparison (tests/api/test_recorded.py). `python -m tests.api.recording --record` writes the files.
"""
