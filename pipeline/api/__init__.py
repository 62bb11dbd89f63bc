"""The HTTP API: paths and JSON are OpenMeter's, so that its clients work.

Owns: routes by subject (the same words as in core), and in `http/` what every route needs: who asks, bodies, pages,
problems, limits, the services behind it. `app.py` puts it together, `server.py` runs it in one or several processes.

Does not own: rules. A read comes from memory (`control`), Redis or ClickHouse; a change is a command that the control
stage decides, and `http/submit.py` waits for its reply. Start at `app.py`, then `catalog/features.py`, the smallest
subject with all kinds of routes.
"""
