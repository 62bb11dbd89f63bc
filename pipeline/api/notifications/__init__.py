"""Rules, channels, notification events and deliveries over HTTP.

Owns: their routes and JSON; OpenMeter's channels are our endpoints. Does not own: what fires (core/notifications) or
what sends (agents/webhook). Start at `rules.py`.
"""
