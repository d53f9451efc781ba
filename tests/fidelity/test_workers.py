"""Worker processes as DataLoader's users know them: what they see, how they fail, and the texts that programs look for."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from stoker import Loader
from tests.fidelity.loaders import Shares, Squares, as_is, both_loaders, with_and_without_workers


class Informed(Squares):
    """Sample i is what a worker knows of itself."""

    def __getitem__(self, index: int) -> Any:
        info = get_worker_info()
        if info is None:
            return None
        assert info.dataset is self
        assert all(f"{name}=" in repr(info) for name in ("id", "num_workers", "seed", "dataset"))
        with pytest.raises((RuntimeError, AttributeError), match="annot assign"):
            info.id = 7
        return info.id, info.num_workers, torch.get_num_threads(), os.getpid(), getattr(self, "value", None)


def set_value(number: int) -> None:
    info = get_worker_info()
    assert info is not None
    assert info.id == number
    assert info.seed == torch.initial_seed(), "seeded before the user's function"
    assert not hasattr(info.dataset, "value"), "the dataset is a copy of this worker's own"
    info.dataset.value = f"set in {number}"


@both_loaders
def test_worker_info_and_worker_init_fn(make: Any) -> None:
    dataset = Informed(8)
    samples = list(make(dataset, batch_size=None, num_workers=2, worker_init_fn=set_value, collate_fn=as_is))
    for number, count, threads, pid, value in samples:
        assert (count, threads, value) == (2, 1, f"set in {number}")
        assert pid != os.getpid()
    assert get_worker_info() is None
    assert not hasattr(dataset, "value")
    assert dataset[0] is None


@both_loaders
def test_worker_init_fn_is_run_anew_in_each_epoch_unless_workers_persist(make: Any, tmp_path: Path) -> None:
    def note(number: int) -> None:
        with (tmp_path / name).open("a") as file:
            file.write(f"{number}\n")

    for name, persistent, times in (("anew", False, 2), ("kept", True, 1)):
        loader = make(Squares(4), num_workers=1, worker_init_fn=note, persistent_workers=persistent)
        for _ in range(2):
            list(loader)
        assert (tmp_path / name).read_text() == times * "0\n"


@both_loaders
@pytest.mark.parametrize("persistent_workers", [False, True])
def test_a_changed_dataset_is_seen_in_the_next_epoch_unless_workers_persist(
    make: Any, persistent_workers: bool
) -> None:
    class Changing(Squares):
        start = 0

        def __getitem__(self, index: int) -> int:
            return self.start + index

    dataset = Changing(2)
    loader = make(dataset, batch_size=2, num_workers=1, persistent_workers=persistent_workers)
    dataset.start = 10  # before the workers are started: always seen
    first = [batch.tolist() for batch in loader]
    dataset.start = 20
    assert (first, [batch.tolist() for batch in loader]) == (
        [[10, 11]],
        [[10 if persistent_workers else 20, 11 if persistent_workers else 21]],
    )


class Drawing(Squares):
    def __getitem__(self, index: int) -> Any:
        return random.random(), np.random.rand(), torch.rand(()).item()


@both_loaders
@with_and_without_workers
def test_random_numbers_differ_between_samples_and_epochs_and_come_again(make: Any, num_workers: int) -> None:
    def epochs() -> list[Any]:
        torch.manual_seed(1), random.seed(2), np.random.seed(3)
        loader = make(Drawing(6), batch_size=None, num_workers=num_workers)
        return [sample for _ in range(2) for sample in loader]

    samples = epochs()
    assert samples == epochs()
    assert all(len(set(column)) == 12 for column in zip(*samples, strict=True))


CONTEXTS = ["fork", pytest.param("spawn", marks=pytest.mark.slow), multiprocessing.get_context("fork")]


@both_loaders
@pytest.mark.parametrize(
    "context", CONTEXTS, ids=lambda context: context if isinstance(context, str) else type(context).__name__
)
def test_a_multiprocessing_context_is_obeyed(make: Any, context: Any) -> None:
    loader = make(Squares(3), batch_size=2, num_workers=1, multiprocessing_context=context)
    assert loader.multiprocessing_context.get_start_method() == (context if isinstance(context, str) else "fork")
    assert [batch.tolist() for batch in loader] == [[0, 1], [4]]


class Counted(Dataset[int]):
    """Counts its reads in a value that workers share with the loop, as only forked processes can."""

    def __init__(self) -> None:
        self.count = multiprocessing.Value("i", 0)

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> int:
        with self.count.get_lock():
            self.count.value += 1
        return index


@both_loaders
def test_shared_values_of_multiprocessing_are_shared(make: Any) -> None:
    dataset = Counted()
    loader = make(dataset, batch_size=2, num_workers=2)
    for epoch in range(2):
        assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [4, 5]]
        assert dataset.count.value == 6 * (epoch + 1)


# Errors


class OwnError(Exception):
    """An error of a user's that is made from two values."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)


class Failing(Squares):
    def __init__(self, error: BaseException, bad: set[int]) -> None:
        super().__init__(6)
        self.error, self.bad = error, bad

    def __getitem__(self, index: int) -> int:
        if index in self.bad:
            raise self.error
        return index


ERRORS: list[tuple[BaseException, type[BaseException]]] = [
    (ValueError("a text"), ValueError),
    (KeyError("a key"), KeyError),
    (IndexError("an index"), IndexError),
    (NotImplementedError(), NotImplementedError),
    (OwnError(3, "why"), RuntimeError),
    (UnicodeDecodeError("utf-8", b"x", 0, 1, "why"), RuntimeError),
]


@both_loaders
def test_errors_keep_their_type_and_tell_where(make: Any) -> None:
    class Each(Squares):
        def __getitem__(self, index: int) -> int:
            raise ERRORS[index][0]

    iterator = iter(make(Each(len(ERRORS)), num_workers=1))
    for error, kind in ERRORS:
        with pytest.raises(kind) as caught:
            next(iterator)
        text, name = str(caught.value), type(error).__name__
        assert text.startswith(
            f"Caught {name} in DataLoader worker process 0.\nOriginal Traceback (most recent call last):"
        )
        assert "in __getitem__" in text
        assert f"{name}: {error}" in text or not str(error)
    assert next(iterator, None) is None


@both_loaders
@with_and_without_workers
def test_after_an_error_the_next_batches_come(make: Any, num_workers: int) -> None:
    iterator = iter(make(Failing(ValueError("bad"), {1, 4}), batch_size=2, num_workers=num_workers))
    seen: list[Any] = []
    for _ in range(3):
        try:
            seen.append(next(iterator).tolist())
        except ValueError:
            seen.append("error")
    assert seen == ["error", [2, 3], "error"]
    assert next(iterator, None) is None


@both_loaders
@with_and_without_workers
def test_without_getitem_it_is_torch_s_own_error(make: Any, num_workers: int) -> None:
    class Nothing(Dataset[int]):
        def __len__(self) -> int:
            return 2

    with pytest.raises(NotImplementedError):
        list(make(Nothing(), num_workers=num_workers))


@both_loaders
def test_an_error_in_worker_init_fn(make: Any) -> None:
    def fail(number: int) -> None:
        raise OSError("no scratch disk")

    text = r"Caught OSError in DataLoader worker process \d\.\nOriginal Traceback(.|\n)*no scratch disk"
    with pytest.raises(OSError, match=text):
        list(make(Squares(4), num_workers=2, worker_init_fn=fail))


@both_loaders
@with_and_without_workers
def test_an_error_in_collate_fn(make: Any, num_workers: int) -> None:
    def fail(samples: Any) -> Any:
        raise ArithmeticError("cannot be put together")

    with pytest.raises(ArithmeticError, match="cannot be put together"):
        list(make(Squares(4), num_workers=num_workers, collate_fn=fail))


# Ends


class Dying(Shares):
    """Its worker ends, by a signal or an exit code."""

    def __init__(self, how: str) -> None:
        super().__init__(1)
        self.how, self.loop = how, os.getpid()

    def __iter__(self) -> Any:
        assert os.getpid() != self.loop
        if self.how == "exit":
            os._exit(3)
        os.kill(os.getpid(), signal.SIGKILL if self.how == "kill" else signal.SIGTERM)
        time.sleep(60)
        yield 0


@both_loaders
@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("kill", r"DataLoader worker \(pid(\(s\))? [\d, ]+\) (is killed by signal: Killed|exited unexpectedly)"),
        (
            "terminate",
            r"DataLoader worker \(pid(\(s\))? [\d, ]+\) (is killed by signal: Terminated|exited unexpectedly)",
        ),
        ("exit", r"DataLoader worker \(pid(\(s\))? [\d, ]+\) exited unexpectedly"),
    ],
)
def test_a_worker_that_dies_is_told_in_the_words_that_programs_look_for(make: Any, how: str, text: str) -> None:
    with pytest.raises(RuntimeError, match=text):
        list(make(Dying(how), batch_size=None, num_workers=1))


class Slow(Squares):
    def __getitem__(self, index: int) -> int:
        time.sleep(60)
        return index


@both_loaders
def test_a_timeout(make: Any) -> None:
    with pytest.raises(RuntimeError, match="DataLoader timed out after 1 seconds"):
        list(make(Slow(2), num_workers=1, timeout=1))


@both_loaders
def test_a_timeout_that_is_kept(make: Any) -> None:
    assert len(list(make(Squares(4), num_workers=1, timeout=60))) == 4


@both_loaders
def test_workers_end_with_the_iterator(make: Any) -> None:
    loader = make(Informed(100), batch_size=None, num_workers=2, collate_fn=as_is)
    iterator = iter(loader)
    pids = {sample[3] for sample in itertools.islice(iterator, 20)}
    assert pids
    del iterator
    deadline = time.monotonic() + 10
    while any(map(running, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_both_are_loaders_of_torch() -> None:
    assert issubclass(Loader, DataLoader)
