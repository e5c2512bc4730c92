"""A study from its launch to its end. Only the folders `ray` and `tune` import Ray."""
