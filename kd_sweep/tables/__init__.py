"""The tables: their columns, how they are written while a study runs, kept compact, and read."""
