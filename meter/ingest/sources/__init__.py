"""Decoders of what is no CloudEvent: one module for each vendor (see the package's README.md)."""
