"""What vendors really send, read: one pure module a vendor (README.md, decision 0011). Imports the model only."""
