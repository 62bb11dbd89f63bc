"""The `tallymark` commands: one module a subject, put together in `main.py`.

Owns: options, exit codes, tables on a terminal (`tables.py`, `output.py`), the demo. Does not own: any rule. Commands
ask the API (`http.py`), except those that need none: `send`, `topics`, `settings`, `dev`, `worker`. Start at `main.py`.
"""
