"""One trial without a cluster: losses, teachers, training, evaluation, checkpoints."""
