"""numba as kobe uses it: `njit`, without the quarter of a second that its linear algebra costs at start-up.

When numba's array functions are loaded they look for BLAS, which imports scipy.linalg; no kernel of kobe multiplies
matrices. While they load, that import is answered with "not there"; afterwards scipy is as it was. A kernel that
wanted `np.dot` would be refused by numba's compiler with a clear error.
"""

import importlib
import sys
from typing import Any

import numba

njit = numba.njit
__all__ = ["njit"]

_BLAS, _ARRAYS = "scipy.linalg.cython_blas", "numba.np.arraymath"


def _load_arrays() -> None:
    modules: dict[str, Any] = sys.modules  # None in it is how Python is told that a module is not there
    if _BLAS in modules or _ARRAYS in modules:
        return
    modules[_BLAS] = None
    try:
        importlib.import_module(_ARRAYS)
    finally:
        del modules[_BLAS]


_load_arrays()
