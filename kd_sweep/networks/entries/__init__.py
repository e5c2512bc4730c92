"""The networks that a study can select: a file for each, or for a family of names. They import no torch."""
