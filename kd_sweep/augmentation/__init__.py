"""Augmentation of image batches at a strength."""
