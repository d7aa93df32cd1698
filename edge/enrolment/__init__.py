"""How this machine gets its keys, and keeps its certificate good (decision 0017)."""
