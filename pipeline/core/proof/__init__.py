"""Proofs of invoices: a file with all that an invoice bills, which anyone can check without the server.

Owns: the rows of the file, its Merkle root, checking it: sums, ratings, the root. Does not own: which events a line
counts (core.explain), reading events, publishing roots (stores.kafka.invoice_roots).

Start reading at `proof_file` (what the file has), then `proof_check`.
"""
