"""The exactly-once engine under the agents: chunks, transactions and tables. It knows nothing of metering.

Owns: how a chunk of input becomes one Kafka transaction with its outputs, its state and its offsets, and how state is
restored after a crash or a change of owner.
Does not own: what the agents compute.
Start at README.md, then read `stage.py` (assignment and commits) and `partition.py` (one input partition).
"""
