"""The whole path in one process, without servers, time or threads: the same loop, steps and pure code over a broker,
books and a cache in memory, under a scheduler with a seed that interleaves, kills, freezes and fails.

``chance`` decides and writes the trace; ``clock`` is time; ``books``, ``session`` and ``statements`` stand in for Postgres,
``stores`` and ``ledgers`` for the tables of the services, ``broker`` for Kafka, ``hot`` for Redis; ``feed`` makes a day,
``worker``, ``world`` and ``run`` live it, ``verdict`` judges it, ``planted`` takes safeties out. What each stands in for, and
what was found: deploy/simulation.md.
"""
