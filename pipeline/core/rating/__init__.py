"""What usage costs: from a price and a quantity to the money of a line, and what of it is still to be billed.

Owns: pricing models and the steps around them, components of lines and their totals, the difference between a rating
and what was billed, the periods of lines and their proration, taxes by configured rates. Everything is a pure function
of its arguments in exact integers; money is rounded once, at each component. Does not own: prices as they are written
(catalog.price), usage (metering, quota), subscriptions, invoices, credits and the ledger.

Start reading at `rate` (the order of operations), then `models` (what each price gives), `booking` (the law by which
late usage is billed), `line_periods` (which lines an item of a subscription has) and `tax`.
"""
