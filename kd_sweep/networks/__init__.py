"""Networks by name: built, checked, with their first weights."""
