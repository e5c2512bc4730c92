"""The study file: read, changed by `--set`, checked, and frozen as `study.yaml`."""
