"""The special functions of SciPy, without what it loads with them of NumPy for tests and for Fortran: 6 MB."""

import numpy as np

_NOT_NEEDED = tuple(name for name in ("f2py", "testing") if name not in vars(np))
"""NumPy loads these where they are first asked for, and SciPy asks for all that NumPy has."""

for _name in _NOT_NEEDED:
    setattr(np, _name, None)
try:
    from scipy.special import fdtrc, gammaincinv, nctdtr, nctdtrinc, ndtr, ndtri, stdtr, stdtrit
finally:
    for _name in _NOT_NEEDED:
        delattr(np, _name)

__all__ = ["fdtrc", "gammaincinv", "nctdtr", "nctdtrinc", "ndtr", "ndtri", "stdtr", "stdtrit"]
