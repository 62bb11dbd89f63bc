"""The exactly-once engine under the agents: chunks, transactions, tables. It knows nothing of metering.

Owns: how a chunk of input becomes one Kafka transaction together with its outputs, its state and its offsets, and how
state comes back after a crash or a change of owner. Does not own: what the agents compute.
"""
