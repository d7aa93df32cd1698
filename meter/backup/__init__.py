"""What is kept outside the database: backups, what they are restored to, evidence for others."""
