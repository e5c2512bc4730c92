"""The samplers that a study can select, a file each, of the sampler's name: its parameters, and what makes it.

None loads Optuna at its top. What a function gets and returns is in `catalogue.decorators.sampler`, and of those that
plan all points of a study in `catalogue.traits.SamplerTraits`.
"""
