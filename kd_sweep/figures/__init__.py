"""Figures for people: plots of studies, sheets of attention maps and of augmented images."""
