"""From an entitlement and its grants to a balance."""
