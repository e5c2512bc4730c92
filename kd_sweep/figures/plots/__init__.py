"""Figures of studies by matplotlib, each drawn from views: `figure_list.py` has them all."""
