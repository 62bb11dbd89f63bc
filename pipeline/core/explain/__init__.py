"""Lines of invoices explained: exactly the events under a line, and whether they add up to what it bills.

Owns: counting stored events again, which events a line or a correction counts, the comparison with the line. Does not
own: what a line keeps of its usage (invoices.line_usage), reading stored events (stores.clickhouse).

Start reading at `line_recount`.
"""
