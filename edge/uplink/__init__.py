"""The way to the gateway: what to send next, how it is marked, and when it may be let go (decision 0015)."""
