"""Doors: who came in, by which credential."""
