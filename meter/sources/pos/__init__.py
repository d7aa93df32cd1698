"""Tills: sales and refunds."""
