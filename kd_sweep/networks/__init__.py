"""Networks by name: their building, their checks and their initial weights."""
