"""A real Kafka, Postgres and Redis on loopback without Docker: `servers.py` is the door, one module a server behind it."""
