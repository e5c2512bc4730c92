"""The upkeep of a results root: `verify` and `gc`."""
