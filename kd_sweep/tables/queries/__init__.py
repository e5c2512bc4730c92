"""Queries of the tables: SQL and named queries."""
