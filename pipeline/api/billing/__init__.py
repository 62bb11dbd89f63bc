"""The connection to outside billing systems: apps, customers' ids in them, which meters are sent, whether totals agree.

Start reading at `apps`. `stripe_calls` asks Stripe about keys, meters and customers; `stripe_drift` compares totals, by
reads that `stripe_reads` opens.
"""
