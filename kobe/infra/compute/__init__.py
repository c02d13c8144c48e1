"""Where bulk work runs: one module for each backend behind `core.ports.Compute`. Imports core and infra only.

To add one: a module here with a class that takes a `ComputeKit`, and one line below; tests/contract/test_compute.py
then runs over it and asks for the digits of `serial`.
"""

from collections.abc import Callable

from kobe.core.ports import Compute
from kobe.infra.compute.dask import DaskCompute
from kobe.infra.compute.kit import ComputeKit
from kobe.infra.compute.processes import ProcessCompute
from kobe.infra.compute.serial import SerialCompute

BACKENDS: dict[str, Callable[[ComputeKit], Compute]] = {
    "serial": SerialCompute,
    "processes": ProcessCompute,
    "dask": DaskCompute,
}
