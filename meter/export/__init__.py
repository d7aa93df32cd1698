"""Charges to the books and to billing systems: postings, the outbox's delivery, one file a target (see README.md)."""
