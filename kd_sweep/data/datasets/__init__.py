"""The datasets: a file for each, of the name that selects it. They import no torch, and readers where they read."""
