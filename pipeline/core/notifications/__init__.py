"""From a rule to an alert to a delivered webhook."""
