"""Credits: money that a customer holds in advance, and what it pays.

Owns: grants, the order in which they are burnt, un-burning, balances at an instant, cost basis, settlement modes, low
balances, top-ups. Does not own: the ledger (ledger), invoices that credits pay (bills), what a line costs (rating).

Start reading at `credit_grant` (what a grant is), then `burn_down` (what it pays). Amounts are in minor units of the
currency, instants in milliseconds since 1970.
Source: reference `billing.md` section 15; OpenMeter at 7e57a394, its v3 API of credits.
"""
