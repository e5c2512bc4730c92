"""The science: losses, teachers, training, evaluation, checkpoints, `run_trial`. No Ray."""
