"""What the runner watches in itself: its clock against the machine's, and whether its work still moves."""

from dataclasses import dataclass, field
from datetime import datetime

JUMP_S = 2.0
SILENT_S = 60.0


@dataclass(slots=True)
class ClockWatch:
    """Notices a wall clock that was set, or a machine that slept: both make it run apart from the steady one."""

    wall: datetime
    steady_s: float

    def jump_s(self, wall: datetime, steady_s: float) -> float:
        """Return by how many seconds the wall clock ran ahead (or back) since the last look; 0 for less than two."""
        ahead = (wall - self.wall).total_seconds() - (steady_s - self.steady_s)
        self.wall, self.steady_s = wall, steady_s
        return ahead if abs(ahead) >= JUMP_S else 0.0


@dataclass(slots=True)
class Signs:
    """Signs of life of the thread that works; it is silent when it is busy and has given none for a minute."""

    busy: bool = False
    job: str = ""
    _last_s: float = field(default=0.0)

    def begin(self, steady_s: float) -> None:
        """The thread begins a round."""
        self.busy, self.job, self._last_s = True, "", steady_s

    def sign(self, job: str, steady_s: float) -> None:
        """The thread is at a job."""
        self.job, self._last_s = job, steady_s

    def end(self) -> None:
        """The thread waits for the next round."""
        self.busy, self.job = False, ""

    def is_alive(self, steady_s: float) -> bool:
        """Say whether the thread waits, or gave a sign within the last minute."""
        return not self.busy or steady_s - self._last_s < SILENT_S
