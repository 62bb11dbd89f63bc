"""Rules, channels, notification events and deliveries over HTTP."""
