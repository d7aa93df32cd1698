"""Shells that carry bytes, for the gateway and for the agent on site alike."""
