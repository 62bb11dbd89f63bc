"""Subscriptions of customers: phases and items that are copied from a plan, and every change of them.

Owns: creating, editing, canceling, changing and migrating a subscription, its status, which items are in force when,
add-ons. Everything is a pure function of its arguments; the time is an argument and so is the function that gives ids.
Does not own: plans and rate cards (catalog), the periods and prices of lines (rating), invoices, where subscriptions
are stored, reading requests.

Start reading at `subscription` (what is stored), then `timeline` (when each part is in force) and `edit`.
"""
