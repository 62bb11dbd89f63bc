"""The agents: one thin shell a stage, around its core."""
