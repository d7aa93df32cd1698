"""Rating: from an account's events and the facts in force to the lines of its bill. Pure (see README.md)."""
