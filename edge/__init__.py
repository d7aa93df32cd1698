"""The on-site agent: see README.md for what it will own."""
