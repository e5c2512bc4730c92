"""What a study may take: hours of training, bytes of checkpoints and of caches."""
