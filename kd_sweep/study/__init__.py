"""What to run: the study file, its search space, the trials and teachers that follow from it."""
