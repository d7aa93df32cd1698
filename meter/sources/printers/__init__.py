"""Printers: jobs, and counters to compare them with."""
