"""Workers are killed at random moments, again and again: every result is there, with the bits of serial."""

import multiprocessing
import os
import random
import signal
import threading

import numpy as np
import pytest
from kit import compute_work

from kobe.infra.compute import BACKENDS
from kobe.infra.compute.kit import ComputeKit
from kobe.infra.compute.shared import SharedArrays

pytestmark = pytest.mark.long
ARRAYS = {"walk": np.random.default_rng(81).standard_normal(60_000).cumsum()}
TASKS = range(24)


class Killer:
    """Kills a random worker some random time after a map began; counts the blows."""

    def __init__(self, seed):
        self._rng = random.Random(seed)
        self.blows = 0

    def strike(self):
        children = [child for child in multiprocessing.active_children() if child.pid]
        if children:
            try:
                os.kill(self._rng.choice(children).pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            self.blows += 1

    def after(self, longest_s):
        timer = threading.Timer(self._rng.uniform(0.0, longest_s), self.strike)
        timer.start()
        return timer


def bits(results):
    return np.array(results).tobytes()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    serial = BACKENDS["serial"](ComputeKit(arrays=SharedArrays(tmp_path_factory.mktemp("serial"))))
    return bits(serial.map(compute_work.slow_sum, TASKS, shared=serial.share(ARRAYS)))


@pytest.mark.parametrize(("name", "kills", "longest_s"), [("processes", 10, 1.5), ("dask", 3, 3.0)])
def test_workers_killed_at_random_moments_change_no_bit(tmp_path, reference, name, kills, longest_s):
    compute = BACKENDS[name](ComputeKit(arrays=SharedArrays(tmp_path), workers=2))
    killer = Killer(seed=81)
    try:
        shared = compute.share(ARRAYS)
        compute.map(compute_work.square, range(4))  # workers are up: the blow meets one of them
        for _ in range(3 * kills):
            timer = killer.after(longest_s)
            assert bits(compute.map(compute_work.slow_sum, TASKS, shared=shared)) == reference
            timer.cancel()
            timer.join()
            if killer.blows >= kills:
                break
        assert killer.blows >= kills, "too few blows landed while there was work"
    finally:
        compute.close()
