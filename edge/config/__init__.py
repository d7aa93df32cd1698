"""Settings of the agent: what there is, where it is read from, and what cannot be meant."""
