"""Hand-offs: a study's finished trials, or a trained network, as files that other tools open."""
