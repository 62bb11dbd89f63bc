"""What is sold: features, each a meter with filters or a flag.

Owns: the definition of a feature and its commands. Does not own: what a customer may use of it (quota), and how its
usage is counted (metering). Start at `feature.py`.
"""
