"""Answers for devices that ask before they act, also while the gateway cannot be heard (decision 0016)."""
