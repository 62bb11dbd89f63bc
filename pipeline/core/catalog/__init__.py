"""What is sold: features, each a meter with filters or a flag, and the prices of what is sold.

Owns: the definition of a feature and its commands, prices and their terms as they lie in rate cards. Does not own: what
a customer may use of a feature (quota), how its usage is counted (metering), what a usage costs (rating). Start at
`feature.py` and `price.py`.
"""
