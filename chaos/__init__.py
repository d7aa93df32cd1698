"""The seeded run of real processes that are killed, frozen and cut off, judged from outside. See README.md."""
