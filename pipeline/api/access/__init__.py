"""API keys and portal tokens over HTTP."""
