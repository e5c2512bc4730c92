"""What to cite: the paper whose claims are judged, and this software as CITATION.cff has it."""

from kd_sweep.version import __version__

PAPER = """\
@misc{guo2024knowledge,
  title         = {Why does Knowledge Distillation Work? Rethink its Attention and Fidelity Mechanism},
  author        = {Guo, Chenqi and Zhong, Shiwei and Liu, Xiaofeng and Feng, Qianli and Ma, Yinglong},
  year          = {2024},
  eprint        = {2405.00739},
  archiveprefix = {arXiv},
  primaryclass  = {cs.CV}
}"""
SOFTWARE = f"""\
@software{{kd_sweep,
  title   = {{kd\\_sweep: distributed hyperparameter sweeps for ensemble knowledge distillation}},
  author  = {{{{The kd\\_sweep project}}}},
  version = {{{__version__}}},
  license = {{Apache-2.0}}
}}"""
