"""The losses that a student is distilled with: a file for each, of the name that selects it. They import no torch."""
