"""The study to run: its file, its search space, the trials and teachers that follow from it, the metrics of a trial."""
