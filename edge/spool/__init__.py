"""Keeps events until the gateway has them: see README.md."""
