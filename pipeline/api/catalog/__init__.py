"""Features over HTTP. Owns: their routes and JSON. Does not own: the rules (core/catalog)."""
