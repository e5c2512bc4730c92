"""Distributed hyperparameter sweeps for ensemble knowledge distillation."""

__version__ = "0.1.0"
