"""The `tallymark` commands: one module per subject, registered in `main.py`.

Owns: options, exit codes, tables on a terminal (`tables.py`, `output.py`), the demo. Does not own: any rule. Commands
call the API (`http.py`), except `send`, `topics`, `settings`, `dev` and `worker`. Start at `main.py`.
"""
