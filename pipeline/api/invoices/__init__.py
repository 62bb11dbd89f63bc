"""Routes about invoices: lists, one invoice as JSON, as a page and as a file of lines, and what clients do with one.

Does not own: what an invoice is and what may be done with it (core.invoices), who decides (the billing stage).
"""
