"""One process, one stage: what it is made of, how it runs, its heartbeat."""
