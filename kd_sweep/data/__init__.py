"""Datasets: the listing, selection, decoding and loading of their images."""
