"""What hears devices, each answering only after the spool's commit (decision 0015)."""
