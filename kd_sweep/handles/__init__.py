"""What a notebook holds of results: a root, a study, a trial, its networks, its preprocessing and its attention."""
