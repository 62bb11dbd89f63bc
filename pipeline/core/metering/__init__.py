"""From an event to a window to the result of a usage query."""
