"""The vocabulary: immutable records and their arithmetic. Pure: no clock, no I/O (see README.md)."""
