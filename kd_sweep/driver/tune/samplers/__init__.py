"""The samplers that a study can name, a file each, of the sampler's name: its settings, and Optuna's sampler for them.

The protocol is `driver.tune.optuna_samplers.OptunaSampler`.
"""
