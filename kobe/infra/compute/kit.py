"""What every compute backend is given."""

from dataclasses import dataclass

from kobe.infra.compute.shared import SharedArrays


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeKit:
    """Settings of a backend.

    Attributes:
        arrays: where shared arrays are kept.
        workers: processes on this machine; 0 is one for each core.
        scheduler: address of a dask scheduler; empty for workers on this machine.
    """

    arrays: SharedArrays
    workers: int = 0
    scheduler: str = ""
