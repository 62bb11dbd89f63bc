"""Invoices: from a line that will be billed to a paid invoice.

Owns: the states of an invoice, its times, content and lines, numbers, gathering of lines, profiles, reports of apps.
Does not own: prices and amounts (rating), calls to apps, the stage that writes invoices, routes.
Start reading at `state_table` (the life of an invoice as data), then `machine` (moving along it) and `actions` (what
clients do); `invoice` and `line` (what it holds), `gathering` (which lines it takes), `numbering`, `profile` (settings)
and `payment` (what apps report) complete it.
"""
