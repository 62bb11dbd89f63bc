"""Kafka: topics, the clients, what is read from topics and written to them outside of the engine."""
