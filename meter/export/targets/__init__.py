"""Targets: one room each, and the registry of their kinds (see ../README.md)."""
