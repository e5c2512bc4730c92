"""The version of kd_sweep."""

__version__ = "0.1.0"
