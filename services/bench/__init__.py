"""The benchmark (architecture.md, section 5): open-loop load, latency from the intended send time, drain, and two floors.

Everything runs on the one machine with its durability on: servers of the benchmark's own, the services as processes, the
load generator. A run whose audit fails prints no figure.
"""
