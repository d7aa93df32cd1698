"""Throughput and latency of the gateway beside what the database alone could do (README.md)."""
