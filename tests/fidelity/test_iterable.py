"""Iterable datasets: sharding by get_worker_info(), turns, lengths and their warning, chains."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch.utils.data import ChainDataset, IterableDataset, get_worker_info

from tests.fidelity.loaders import Shares, Sized, Squares, both_loaders, with_and_without_workers


@both_loaders
def test_without_workers(make: Any) -> None:
    assert list(make(Shares(5), batch_size=None)) == [0, 1, 2, 3, 4]
    assert [batch.tolist() for batch in make(Shares(5), batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert [batch.tolist() for batch in make(Shares(5), batch_size=2, drop_last=True)] == [[0, 1], [2, 3]]


@both_loaders
@pytest.mark.parametrize("prefetch_factor", [1, 3])
def test_workers_take_turns_with_their_shares(make: Any, prefetch_factor: int) -> None:
    loader = make(Shares(0, 3, 7), batch_size=2, num_workers=3, prefetch_factor=prefetch_factor)
    expected = [[0, 1], [3, 4], [2], [5, 6], [7, 8], [9]]
    assert [batch.tolist() for batch in loader] == expected
    assert [batch.tolist() for batch in loader] == expected, "and again in the next epoch"


@both_loaders
@pytest.mark.parametrize("persistent_workers", [False, True])
def test_every_worker_drops_its_last_batch(make: Any, persistent_workers: bool) -> None:
    arguments = {"num_workers": 3, "drop_last": True, "persistent_workers": persistent_workers}
    loader = make(Shares(0, 3, 7), batch_size=2, **arguments)
    for _ in range(2):
        assert sorted(batch.tolist() for batch in loader) == [[0, 1], [3, 4], [5, 6], [7, 8]]


@both_loaders
def test_a_dataset_that_does_not_share_is_read_by_every_worker(make: Any) -> None:
    class Whole(IterableDataset[int]):
        def __iter__(self) -> Any:
            yield from range(3)

    assert sorted(make(Whole(), batch_size=None, num_workers=2)) == [0, 0, 1, 1, 2, 2]


@both_loaders
def test_more_than_the_reported_length_is_warned_of(make: Any) -> None:
    text = (
        r"Length of IterableDataset Shares\(5,\) was reported to be 3 ?\(when accessing len\(dataloader\)\), "
        r"but 4 samples have been fetched\. "
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loader = make(Sized(5, length=3))
        assert len(list(loader)) == 5, "nobody asked for the length: nothing to warn of"
        assert len(loader) == 3
        iterator = iter(loader)
        for _ in range(3):
            next(iterator)
    with pytest.warns(UserWarning, match=text + "$"):
        next(iterator)


@both_loaders
def test_the_warning_speaks_of_workers(make: Any) -> None:
    loader = make(Sized(2, 2, length=3), batch_size=None, num_workers=2)
    assert len(loader) == 3
    iterator = iter(loader)
    for _ in range(3):
        next(iterator)
    with pytest.warns(UserWarning, match="For multiprocessing data-loading, this could be caused by not properly conf"):
        next(iterator)


@both_loaders
@with_and_without_workers
def test_chains(make: Any, num_workers: int) -> None:
    for chain in (Shares(3) + Shares(2), ChainDataset([Shares(3), Shares(2)])):
        if num_workers == 0:
            assert list(make(chain, batch_size=None)) == [0, 1, 2, 0, 1]
    chain = ChainDataset([Shares(2, 1), Shares(1, 1)])
    if num_workers:
        assert list(make(chain, batch_size=None, num_workers=2)) == [0, 2, 1, 1, 0]
    with pytest.raises(AssertionError, match="ChainDataset only supports IterableDataset"):
        list(make(Shares(1, 1) + Squares(), num_workers=num_workers))


@both_loaders
@with_and_without_workers
def test_an_error_when_iteration_begins(make: Any, num_workers: int) -> None:
    class Failing(IterableDataset[int]):
        def __iter__(self) -> Any:
            raise RuntimeError("Error in __iter__")

    with pytest.raises(RuntimeError, match="Error in __iter__"):
        list(make(Failing(), num_workers=num_workers))


@both_loaders
@with_and_without_workers
def test_after_an_error_the_stream_ends(make: Any, num_workers: int) -> None:
    class Failing(IterableDataset[int]):
        def __iter__(self) -> Any:
            yield 1
            raise ValueError("in the middle")

    iterator = iter(make(Failing(), num_workers=min(1, num_workers)))
    assert next(iterator).tolist() == [1]
    with pytest.raises(ValueError, match="in the middle"):
        next(iterator)
    assert next(iterator, None) is None


@both_loaders
def test_an_iterator_is_a_dataset_that_is_used_up(make: Any) -> None:
    class Once(IterableDataset[int]):
        left = 3

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> int:
            if self.left == 0:
                raise StopIteration
            self.left -= 1
            return self.left

    dataset = Once()
    loader = make(dataset, batch_size=None)
    assert (list(loader), list(loader)) == ([2, 1, 0], [])
    assert list(make(Once(), batch_size=2, num_workers=1))[1].tolist() == [0]
    persistent = make(Once(), batch_size=None, num_workers=1, persistent_workers=True)
    assert (list(persistent), list(persistent)) == ([2, 1, 0], []), "persistent workers keep their copies"
    anew = make(Once(), batch_size=None, num_workers=1)
    assert (list(anew), list(anew)) == ([2, 1, 0], [2, 1, 0])


@both_loaders
def test_seeds_of_workers(make: Any) -> None:
    """Each worker draws other numbers, other ones in each epoch, and the same ones from the same generator."""

    class Drawn(IterableDataset[Any]):
        def __iter__(self) -> Any:
            info = get_worker_info()
            assert info is not None
            assert info.seed == torch.initial_seed()
            yield info.seed, float(torch.rand(()))

    def epochs() -> list[Any]:
        generator = torch.Generator().manual_seed(3)
        loader = make(Drawn(), batch_size=None, num_workers=2, generator=generator)
        return [draw for _ in range(2) for draw in loader]

    drawn = epochs()
    assert drawn == epochs()
    assert len({seed for seed, _ in drawn}) == len({value for _, value in drawn}) == 4
    assert drawn[1][0] == drawn[0][0] + 1, "base seed plus worker number, as documented"


@both_loaders
def test_without_workers_a_stream_draws_from_the_loop_s_generators(make: Any) -> None:
    class Drawn(IterableDataset[float]):
        def __iter__(self) -> Any:
            while True:
                yield float(torch.rand(()))

    iterator = iter(make(Drawn(), batch_size=None))
    torch.manual_seed(4)
    values = [next(iterator), float(torch.rand(())), next(iterator)]
    torch.manual_seed(4)
    assert values == torch.rand(3).tolist()


@both_loaders
@pytest.mark.parametrize("num_workers", [0, 2])
def test_data_pipes_are_shuffled_and_sharded(make: Any, num_workers: int) -> None:
    pipes = pytest.importorskip("torch.utils.data.datapipes.iter")

    def epochs(seed: int) -> list[Any]:
        torch.manual_seed(seed)
        pipe = pipes.IterableWrapper(range(30)).shuffle(buffer_size=20).sharding_filter()
        loader = make(pipe, batch_size=None, shuffle=True, num_workers=num_workers)
        return [list(loader) for _ in range(2)]

    first, second = epochs(1)
    assert sorted(first) == sorted(second) == list(range(30))
    assert first != second
    assert epochs(1) == [first, second]
