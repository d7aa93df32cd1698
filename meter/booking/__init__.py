"""From stored events to booked charges: the worker around the pure fold (see README.md)."""
