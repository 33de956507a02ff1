"""The one loop that serves five services, and its hands: Kafka, Postgres, Redis, settings, telemetry."""
