"""ClickHouse: its tables, connections and queries."""
