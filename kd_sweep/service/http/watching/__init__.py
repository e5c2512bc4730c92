"""What changes while somebody watches: studies in the queue, progress, epochs that are new."""
