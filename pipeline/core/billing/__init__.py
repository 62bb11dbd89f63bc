"""From usage to money: what is owed, and what an outside billing system has taken of it.

Owns: the rules by which usage becomes whole units at Stripe, the state of each window that is sent there, and what an
answer of Stripe means. Does not own: calls to Stripe (stores.stripe_api), the stage (agents.stripe_sync), the usage
itself (metering, quota.account_usage).
Start reading at `stripe_units` (exact usage to whole units), then `stripe_window` (one window's state machine) and
`stripe_outcome` (what an answer means).
"""
