"""Figures for people: sheets of attention maps and of augmented images."""
