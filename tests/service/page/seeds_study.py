"""A study file with two settings in size and two in strength, three seeds each, and two objectives."""

from tests.tiny_study import TINY

OBJECTIVES = "objectives: [{metric: val_loss, mode: min}, {metric: fidelity_val, mode: max}]"
SEEDS = TINY.replace("name: tiny", "name: seeds").replace("search:", f"seeds: 3\n{OBJECTIVES}\nsearch:")
