"""`python -m kd_sweep` is `kd-sweep`."""

from kd_sweep.cli import main

main()
