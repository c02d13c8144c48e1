"""Every compute backend: results in order, the digits of serial, failures as they are, dead workers cost time only."""

import os
import pickle

import numpy as np
import pytest
from kit import compute_work

from kobe.core.errors import ExternalError, KobeError, MissingDataError
from kobe.infra.compute import BACKENDS
from kobe.infra.compute.kit import ComputeKit
from kobe.infra.compute.shared import SharedArrays

ELSEWHERE = [name for name in BACKENDS if name != "serial"]
RNG = np.random.default_rng(81)
ARRAYS = {"walk": RNG.standard_normal(400_001).cumsum(), "matrix": RNG.standard_normal((4_000, 30))}
SLICES = [(i * 40_000, (i + 1) * 40_000 + i) for i in range(9)]


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    made = {}

    def start(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            made[name] = BACKENDS[name](ComputeKit(arrays=SharedArrays(folder), workers=2))
        return made[name]

    yield start
    for compute in made.values():
        compute.close()


@pytest.fixture(params=BACKENDS)
def compute(request, started):
    return started(request.param)


@pytest.fixture(params=ELSEWHERE)
def elsewhere(request, started):
    return started(request.param)


def test_a_backend_is_called_what_the_table_calls_it(compute):
    assert BACKENDS[compute.name] is type(compute)


@pytest.mark.parametrize("count", [0, 1, 2, 150])
def test_results_come_in_the_order_of_the_tasks(compute, count):
    assert compute.map(compute_work.square, range(count)) == [i * i for i in range(count)]


def test_reductions_over_a_shared_array_have_the_bits_of_serial(elsewhere, started):
    ours, reference = [
        c.map(compute_work.reductions, SLICES, shared=c.share(ARRAYS)) for c in (elsewhere, started("serial"))
    ]
    assert [m.tobytes() for m, _ in ours] == [m.tobytes() for m, _ in reference]
    assert [pair for _, pair in ours] == [pair for _, pair in reference]


def test_linear_algebra_has_the_bits_of_serial_whatever_the_number_of_cores(elsewhere, started):
    ours, reference = [
        c.map(compute_work.products, [0, 5, 11], shared=c.share(ARRAYS)) for c in (elsewhere, started("serial"))
    ]
    for (product, values, dot), (product_, values_, dot_) in zip(ours, reference, strict=True):
        assert product.tobytes() == product_.tobytes()
        assert values.tobytes() == values_.tobytes()
        assert dot == dot_


def test_blas_uses_one_thread_everywhere_and_numba_one_in_a_worker(compute):
    ((numba, blas),) = compute.map(compute_work.threads, [0])
    assert blas
    assert set(blas) == {1}
    assert compute.name == "serial" or numba == 1


def test_the_same_array_has_the_same_name_in_every_backend(started):
    assert len({pickle.dumps(started(name).share(ARRAYS)) for name in BACKENDS}) == 1


def test_shared_arrays_cannot_be_written(compute):
    with pytest.raises(ValueError, match="read-only"):
        compute.map(compute_work.written, [0], shared=compute.share(ARRAYS))


def test_progress_is_told_once_for_each_task(compute):
    told = []
    compute.map(compute_work.square, range(7), progress=lambda *facts: told.append(facts))
    assert told == [(i + 1, 7, "kit.compute_work.square") for i in range(7)]


@pytest.mark.parametrize("kind", ["none", "set", "bytes", "scalar", "nan", "nested", "empty", "error"])
def test_results_of_every_kind_come_back_with_their_type_and_bits(compute, kind):
    (result,) = compute.map(compute_work.results, [kind])
    expected = compute_work.results(kind, {})
    assert type(result) is type(expected)
    if kind == "error":  # dask changes how a process pickles exceptions
        assert result.args == expected.args
    else:
        assert pickle.dumps(result) == pickle.dumps(expected)


def test_our_errors_come_back_with_their_facts(compute):
    with pytest.raises(MissingDataError) as caught:
        compute.map(compute_work.fails, ["a", "three", "b"])
    error = caught.value
    assert (error.what, error.seen, str(error.expected), error.next_command) == (
        "no such thing", "three", "four", "kobe doctor",
    )  # fmt: skip
    with pytest.raises(ExternalError) as external:
        compute.map(compute_work.fails, ["four"])
    assert external.value.retryable
    assert external.value.exit_code == ExternalError.exit_code


def test_other_exceptions_come_back_as_themselves_and_say_where_they_arose(elsewhere):
    with pytest.raises(ValueError, match="plain") as caught:
        elsewhere.map(compute_work.fails, ["a", "value"])
    assert "compute_work.py" in "".join(caught.value.__notes__)
    assert elsewhere.map(compute_work.fails, ["a"]) == ["a"], "the backend is of no more use after a failure"


@pytest.mark.parametrize(("task", "words"), [("odd", "1 and 2"), ("odd facts", "odd facts")])
def test_exceptions_that_cannot_travel_are_told(compute, task, words):
    with pytest.raises(Exception, match=words):
        compute.map(compute_work.fails, ["a", task])


def test_of_several_failures_the_first_in_the_order_of_the_tasks_is_raised(compute, tmp_path):
    first_waits = None if compute.name == "serial" else 1
    with pytest.raises(ValueError, match=r"^0\b"):
        compute.map(compute_work.fails_in_turn, [(str(tmp_path), 0, first_waits), (str(tmp_path), 1, None)])


def test_what_could_not_travel_is_refused_by_every_backend_alike(compute):
    with pytest.raises(KobeError, match="function of a module"):
        compute.map(lambda task, arrays: task, [1])
    with pytest.raises(KobeError, match=r"task is too big.*`shared`"):
        compute.map(compute_work.square, [np.zeros(100_000)])
    with pytest.raises(KobeError, match="task cannot travel"):
        compute.map(compute_work.square, [lambda: None])
    with pytest.raises(KobeError, match=r"result cannot travel.*function"):
        compute.map(compute_work.unpicklable, [1])


def test_the_function_cannot_change_the_caller_s_tasks(compute):
    tasks = [[1], [2]]
    assert compute.map(compute_work.grown, tasks) == [[1, 0], [2, 0]]
    assert tasks == [[1], [2]]


def test_a_worker_killed_in_the_middle_costs_its_task_again_and_nothing_else(elsewhere, tmp_path):
    shared = elsewhere.share(ARRAYS)
    tasks = [(str(tmp_path), i) for i in range(10)]
    results = elsewhere.map(compute_work.killed_once, tasks, shared=shared)
    assert results == [float(ARRAYS["walk"][i:].sum()) for i in range(10)]
    tries = [len((tmp_path / f"tries-{i}").read_text()) for i in range(10)]
    lost = 0 if elsewhere.name == "processes" else 2  # dask's workers keep results: two later kills may lose one again
    assert all(2 <= tries[i] <= 2 + lost for i in (1, 5, 9))
    if elsewhere.name == "processes":
        assert sum(tries) == 13


def test_a_task_that_kills_three_workers_is_named(elsewhere):
    with pytest.raises(ExternalError, match=r"killed its worker 3 times.*task 2 of 4 of .*kills: 3.*serial"):
        elsewhere.map(compute_work.kills, [1, 2, 3, 4])


def test_an_empty_map_starts_nothing(tmp_path):
    for name, make in BACKENDS.items():
        compute = make(ComputeKit(arrays=SharedArrays(tmp_path), workers=1))
        assert compute.map(compute_work.own_pid, []) == [], name
    assert list(tmp_path.iterdir()) == []


def test_closed_it_ends_its_workers_and_may_be_used_again(elsewhere):
    def alive(pid):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    pids = set(elsewhere.map(compute_work.own_pid, range(6)))
    assert os.getpid() not in pids
    elsewhere.close()
    assert not any(alive(pid) for pid in pids)
    assert elsewhere.map(compute_work.square, [3]) == [9]
