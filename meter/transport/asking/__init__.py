"""Ways of asking devices and vendors (decision 0011)."""
