"""Questions to the tables: SQL, and the queries that have a name."""
