"""Sections `scheduler` of study files, every stopping rule in both directions."""

SCHEDULERS = {
    "asha": "{name: asha, reduction_factor: 2}",
    "asha-min": "{name: asha, metric: val_loss, mode: min, grace_period: 2, reduction_factor: 3}",
    "median": "{name: median, grace_period: 2, min_trials: 2}",
    "median-min": "{name: median, metric: val_loss, mode: min}",
    "hyperband": "{name: hyperband, metric: predictive_kl_val, mode: min, reduction_factor: 2}",
    "patience": "{name: patience, patience: 2, min_delta: 0.01}",
    "pareto_asha": "{name: pareto_asha, reduction_factor: 2}",
}
