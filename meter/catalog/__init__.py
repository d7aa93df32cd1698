"""Catalog files: YAML or JSON text to one validated catalog and a draft of the directory (see README.md)."""
