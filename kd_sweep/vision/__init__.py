"""Datasets, augmentation streams, models, attention maps."""
