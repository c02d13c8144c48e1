"""One task after the other in this process: the digits every other backend is held to."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kobe.core.ports import Arrays, Progress, ResultT, Shared, TaskT
from kobe.infra.compute import shared as sharing
from kobe.infra.compute import work
from kobe.infra.compute.kit import ComputeKit

_LINE_BYTES = 64


class SerialCompute:
    """Needs no worker and writes no file; arrays stay where they are, seen read-only."""

    name = "serial"

    def __init__(self, kit: ComputeKit) -> None:
        self._arrays = kit.arrays.here()
        self._held: dict[str, npt.NDArray[Any]] = {}

    def share(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Shared]:
        """Keep a copy of arrays by digest until `close`."""
        told = {}
        for name, array in arrays.items():
            told[name] = sharing.describe(array, sharing.npy(array))
            if told[name].digest not in self._held:
                self._held[told[name].digest] = _aligned(array)
        return told

    def map(
        self,
        function: Callable[[TaskT, Arrays], ResultT],
        tasks: Sequence[TaskT],
        *,
        shared: Mapping[str, Shared] | None = None,
        progress: Progress | None = None,
    ) -> list[ResultT]:
        """Return the function's results in the order of the tasks; see `core.ports.Compute`."""
        parcel = work.pack(function, tasks, shared, self._arrays)
        if not parcel.tasks:
            return []
        arrays = {name: self._array(one) for name, one in (shared or {}).items()}
        results: list[ResultT] = []
        with work.one_thread():
            for task in parcel.tasks:
                results.append(function(pickle.loads(task), arrays))  # noqa: S301 - packed above; a task of its own
                work.check_travels(results[-1])
                if progress is not None:
                    progress(len(results), len(parcel.tasks), parcel.label)
        return results

    def close(self) -> None:
        """Forget the arrays."""
        self._held.clear()

    def _array(self, one: Shared) -> npt.NDArray[Any]:
        held = self._held.get(one.digest)
        return self._arrays.open(one) if held is None else held


def _aligned(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Copy an array to where a mapped file would begin modulo a cache line, read-only.

    Vectorised loops may treat the first elements apart until an address is even; so the last digits of a sum could
    depend on where the array lies.
    """
    room = np.empty(array.nbytes + _LINE_BYTES, dtype=np.uint8)
    start = -room.ctypes.data % _LINE_BYTES
    copy: npt.NDArray[Any] = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    copy.flags.writeable = False
    return copy
