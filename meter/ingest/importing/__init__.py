"""Taking in tables: rows to entries of the directory and to events, compared with what is stored (docs/import.md)."""
