"""Who may ask: API keys and portal tokens."""
