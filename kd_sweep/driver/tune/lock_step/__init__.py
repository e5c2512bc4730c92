"""Trials of a sweep whose students learn in one process, in lock step."""
