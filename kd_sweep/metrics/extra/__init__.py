"""Metrics that trials report where a study asks for them: a file each, of the metric's name. They import no torch."""
