"""Who pays, and whose usage it is."""
