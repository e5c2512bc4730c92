"""Looking after a results root: `verify` and `gc`."""
