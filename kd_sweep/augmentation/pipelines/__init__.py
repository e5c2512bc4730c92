"""The augmentation pipelines: a file for each, of the name that selects it. They import no torch."""
