"""Attention maps of networks, and their regions."""
