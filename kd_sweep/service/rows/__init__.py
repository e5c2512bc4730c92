"""What the service itself keeps: rows in SQLite or PostgreSQL."""
