"""Asking vendors: what a notice named, and what a poll brings (decision 0011)."""
