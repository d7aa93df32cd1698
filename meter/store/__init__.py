"""PostgreSQL: the only package that knows SQL (see README.md)."""
