"""The whole path in one process, without servers, time or threads: the same loop, steps and pure code over a broker,
books and a cache in memory, under a scheduler with a seed that interleaves, kills, freezes and fails.

``chance`` decides and writes the trace; ``clock`` is time; ``books`` and ``statements`` stand in for Postgres, ``stores`` for the
tables of the services, ``broker`` for Kafka, ``hot`` for Redis; ``feed`` makes a day, ``worker`` and ``world`` run it, ``faults``
disturbs it, ``verdict`` judges it. What each stands in for, and what was found: deploy/simulation.md.
"""
