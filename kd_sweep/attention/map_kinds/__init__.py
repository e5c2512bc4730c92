"""The kinds of attention map that a study can select: a file for each, of the name that selects it, without torch."""
