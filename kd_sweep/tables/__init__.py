"""The tables: how they are laid out, written while a study runs, kept compact, and read."""
