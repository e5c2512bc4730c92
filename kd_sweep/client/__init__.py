"""A service from elsewhere: its results, and studies that it runs, as Python has those of a folder."""
