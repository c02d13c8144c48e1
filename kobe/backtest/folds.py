"""Walk-forward windows: the one place where their borders are computed (DOMAIN 3.1)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One split in session numbers, all borders included; tests tile and never overlap."""

    number: int
    train_first: int
    train_last: int
    test_first: int
    test_last: int


def folds(
    first_session: int,
    last_session: int,
    *,
    train: int = 252,
    test: int = 63,
    step: int = 63,
    anchored: bool = False,
) -> list[Fold]:
    """Enumerate the full splits of a span of sessions; a last part shorter than a test window is dropped.

    Anchored mode keeps the start of training at the first session.

    Raises:
        ValueError: a length is not positive, or tests would overlap.
    """
    if min(train, test, step) < 1 or step < test:
        msg = f"folds need positive lengths and step >= test: train={train} test={test} step={step}"
        raise ValueError(msg)
    sessions = last_session - first_session + 1
    count = max(0, (sessions - train - test) // step + 1)
    return [
        Fold(
            number=k + 1,
            train_first=first_session if anchored else first_session + k * step,
            train_last=first_session + k * step + train - 1,
            test_first=first_session + k * step + train,
            test_last=first_session + k * step + train + test - 1,
        )
        for k in range(count)
    ]


def in_train(
    fold: Fold, signal_session: npt.NDArray[np.int32], exit_session: npt.NDArray[np.int32], purge: int
) -> npt.NDArray[np.bool_]:
    """Mark the signals a split may learn from: inside the window, and over before the test begins (D16).

    A label spans from the signal to its actual exit; both that and the last `purge` sessions of training go.
    In pure walk-forward no embargo is needed, because training never follows testing.
    """
    inside = (signal_session >= fold.train_first) & (signal_session <= fold.train_last - purge)
    result: npt.NDArray[np.bool_] = inside & (exit_session < fold.test_first)
    return result


def in_test(fold: Fold, signal_session: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Mark the signals that belong to a split's test window; trades run to their natural exit (D17)."""
    return (signal_session >= fold.test_first) & (signal_session <= fold.test_last)
