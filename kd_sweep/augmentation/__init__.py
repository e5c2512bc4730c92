"""What a strength does to a batch of images."""
