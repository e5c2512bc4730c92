"""Students in training: one alone, or several of one stream in lock step."""
