"""A real Kafka, Postgres and Redis on loopback without Docker.

`servers.py` is the door; behind it is one module a server, and `process.py`.
"""
