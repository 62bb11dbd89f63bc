"""Bills: what a customer owes, from usage and subscriptions to invoices that are paid.

Owns: all state of the billing stage and what each record does to it. Everything follows from the records of one
partition and the definitions: a record that is read again changes nothing. Does not own: prices (catalog), what usage
costs (rating), the rules of subscriptions and of invoices (subscriptions, invoices), topics and processes (agents).

Start reading at `bill_table` (what each record does), then `line_group` (the law by which usage is booked on lines),
`placing` (on which invoice), `flow` (the states of an invoice).
"""
