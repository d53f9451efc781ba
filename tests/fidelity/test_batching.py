"""Which samples come, in which batches: samplers, batch samplers, single samples, several iterators, wrappers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    Dataset,
    DistributedSampler,
    RandomSampler,
    Sampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)

from tests.fidelity.loaders import Squares, as_is, both_loaders, with_and_without_workers


@both_loaders
@with_and_without_workers
@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_in_order(make: Any, num_workers: int, drop_last: bool) -> None:
    batches = [batch.tolist() for batch in make(Squares(7), 3, num_workers=num_workers, drop_last=drop_last)]
    assert batches == [[0, 1, 4], [9, 16, 25], [36]][: 2 if drop_last else 3]


@both_loaders
@with_and_without_workers
def test_batch_size_none_hands_out_samples(make: Any, num_workers: int) -> None:
    samples = list(make(Squares(4), batch_size=None, num_workers=num_workers))
    assert samples == [0, 1, 4, 9]
    assert {type(sample) for sample in samples} == {int}, "single samples are converted, not collated"


class ByList(Dataset[torch.Tensor]):
    def __getitem__(self, indices: Any) -> torch.Tensor:
        assert isinstance(indices, list)
        return torch.as_tensor(indices)

    def __len__(self) -> int:
        return 10


@both_loaders
@with_and_without_workers
def test_without_batching_a_sampler_may_yield_lists(make: Any, num_workers: int) -> None:
    loader = make(ByList(), batch_size=None, sampler=[[3, 1], [0], [9, 9, 9]], num_workers=num_workers)
    assert [batch.tolist() for batch in loader] == [[3, 1], [0], [9, 9, 9]]


@both_loaders
@with_and_without_workers
@pytest.mark.parametrize(
    "batches",
    [[[1], [2, 3]], [(4, 0), (5,)], BatchSampler([5, 4, 3], 2, False), [np.array([1, 2])], [torch.tensor([2, 0])]],
)
def test_a_batch_sampler_decides(make: Any, num_workers: int, batches: Any) -> None:
    expected = [[int(index) ** 2 for index in batch] for batch in batches]
    loader = make(Squares(), batch_sampler=batches, num_workers=num_workers)
    assert [batch.tolist() for batch in loader] == expected
    assert [batch.tolist() for batch in loader] == expected, "and again in the next epoch"


class Named(Dataset[str]):
    """A map-style dataset in the word's sense: keys of any kind, and no length."""

    def __getitem__(self, key: Any) -> str:
        return f"value of {key}"


@both_loaders
@with_and_without_workers
def test_keys_need_not_be_numbers_and_datasets_need_no_length(make: Any, num_workers: int) -> None:
    loader = make(Named(), sampler=["a", ("b", 1), None], batch_size=2, num_workers=num_workers)
    assert list(loader) == [["value of a", "value of ('b', 1)"], ["value of None"]]


@both_loaders
@pytest.mark.parametrize("dataset", [[5, 6, 7], range(5, 8), torch.arange(5, 8), np.arange(5, 8), {0: 5, 1: 6, 2: 7}])
def test_anything_with_a_length_and_items_is_a_dataset(make: Any, dataset: Any) -> None:
    assert [batch.tolist() for batch in make(dataset, batch_size=2)] == [[5, 6], [7]]


@both_loaders
@with_and_without_workers
def test_shuffling_is_a_permutation_that_changes(make: Any, num_workers: int) -> None:
    loader = make(Squares(50), batch_size=4, shuffle=True, num_workers=num_workers)
    epochs = [[value for batch in loader for value in batch.tolist()] for _ in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [[i * i for i in range(50)]] * 2
    assert epochs[0] != epochs[1] != sorted(epochs[1])


@both_loaders
@with_and_without_workers
def test_a_generator_decides_the_order(make: Any, num_workers: int) -> None:
    def order(seed: int) -> list[Any]:
        generator = torch.Generator().manual_seed(seed)
        loader = make(Squares(50), batch_size=4, shuffle=True, num_workers=num_workers, generator=generator)
        return [batch.tolist() for _ in range(2) for batch in loader]

    assert order(42) == order(42) != order(43)


@both_loaders
def test_torch_manual_seed_decides_the_order(make: Any) -> None:
    def order(seed: int) -> list[Any]:
        torch.manual_seed(seed)
        return [batch.tolist() for batch in make(Squares(50), batch_size=4, shuffle=True)]

    assert order(42) == order(42) != order(43)


SAMPLERS: dict[str, Any] = {
    "random": lambda g: RandomSampler(range(20), generator=g),
    "with replacement": lambda g: RandomSampler(range(20), replacement=True, num_samples=25, generator=g),
    "subset": lambda g: SubsetRandomSampler(range(5, 15), generator=g),
    "weighted": lambda g: WeightedRandomSampler([0.1, 0.9, 3.0], 20, generator=g),
    "distributed": lambda g: DistributedSampler(range(20), num_replicas=3, rank=1, seed=g.initial_seed()),
}


@both_loaders
@pytest.mark.parametrize("name", SAMPLERS)
def test_torch_s_samplers_are_obeyed_as_they_are(make: Any, name: str) -> None:
    """With the very order that the sampler has when it is iterated without a loader, from the seed of its own generator."""
    expected = list(SAMPLERS[name](torch.Generator().manual_seed(13)))
    torch.manual_seed(1)
    sampler = SAMPLERS[name](torch.Generator().manual_seed(13))
    loader = make(range(20), batch_size=4, sampler=sampler)
    assert [value for batch in loader for value in batch.tolist()] == expected


@both_loaders
def test_set_epoch_of_a_user_s_sampler(make: Any) -> None:
    sampler = DistributedSampler(range(20), num_replicas=2, rank=0, seed=1)
    loader = make(range(20), batch_size=4, sampler=sampler)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        orders.append([batch.tolist() for batch in loader])
    assert orders[0] == orders[2] != orders[1]


class Drawing(Sampler[int]):
    """A user's sampler that draws from the global generators as it goes."""

    def __iter__(self) -> Iterator[int]:
        for _ in range(9):
            yield random.randrange(10) + 10 * int(torch.randint(10, ())) + 100 * np.random.randint(10)

    def __len__(self) -> int:
        return 9


@both_loaders
def test_a_sampler_may_draw_from_the_global_generators(make: Any) -> None:
    def order(seed: int) -> list[Any]:
        torch.manual_seed(seed), random.seed(seed), np.random.seed(seed)
        return [batch.tolist() for batch in make(range(1000), batch_size=2, sampler=Drawing())]

    assert order(5) == order(5) != order(6)


@both_loaders
@with_and_without_workers
def test_several_iterators_of_one_loader_at_once(make: Any, num_workers: int) -> None:
    loader = make(Squares(6), batch_size=2, num_workers=num_workers)
    first, second = iter(loader), iter(loader)
    seen = [next(first), next(first), next(second), next(first), next(second), next(second)]
    assert [batch.tolist() for batch in seen] == [[0, 1], [4, 9], [0, 1], [16, 25], [4, 9], [16, 25]]
    assert next(first, None) is next(second, None) is None
    assert next(first, None) is None, "an iterator that has ended stays so"


@both_loaders
@with_and_without_workers
def test_a_loop_that_is_left_can_be_begun_again(make: Any, num_workers: int) -> None:
    loader = make(Squares(6), batch_size=2, num_workers=num_workers)
    for batch in loader:
        assert batch.tolist() == [0, 1]
        break
    assert len(list(loader)) == 3


@both_loaders
@with_and_without_workers
@pytest.mark.parametrize("persistent_workers", [False, True])
def test_a_loader_inside_a_loader(make: Any, num_workers: int, persistent_workers: bool) -> None:
    class Nested(Dataset[int]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> int:
            inner = make(Squares(index + 2), batch_size=2)
            return sum(int(batch.sum()) for batch in inner)

    persistence = {"persistent_workers": persistent_workers and num_workers > 0}
    loader = make(Nested(), batch_size=2, num_workers=num_workers, **persistence)
    for _ in range(2):
        assert [batch.tolist() for batch in loader] == [[1, 5], [14, 30]]


TENSORS = TensorDataset(torch.arange(10), torch.arange(10) * 10)
WRAPPED: dict[str, tuple[Any, Any]] = {
    "subset": (Subset(TENSORS, [7, 2]), [[[7, 2], [70, 20]]]),
    "subset of samples": (Subset(Squares(), [3, 1, 2]), [[9, 1], [4]]),
    "concat": (ConcatDataset([TENSORS, TensorDataset(torch.tensor([5]), torch.tensor([6]))]), None),
    "stack": (StackDataset(Squares(3), range(3)), [[[0, 1], [0, 1]], [[4], [2]]]),
    "named stack": (StackDataset(a=Squares(2), b=TENSORS.tensors[1][:2]), [{"a": [0, 1], "b": [0, 10]}]),
    "random split": (random_split(range(3), [1, 2], torch.Generator().manual_seed(2))[0], None),
}


def plain(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {name: plain(column) for name, column in batch.items()}
    return [plain(column) for column in batch] if isinstance(batch, list) else batch.tolist()


@both_loaders
@with_and_without_workers
@pytest.mark.parametrize("name", WRAPPED)
def test_dataset_wrappers(make: Any, num_workers: int, name: str) -> None:
    dataset, expected = WRAPPED[name]
    batches = [plain(batch) for batch in make(dataset, batch_size=2, num_workers=num_workers)]
    by_sample = [plain(batch) for batch in make(dataset, batch_sampler=[[0, 1][: len(dataset)]])]
    assert batches[:1] == by_sample
    assert expected is None or batches == expected


@both_loaders
@with_and_without_workers
def test_getitems_is_asked_for_whole_batches(make: Any, num_workers: int) -> None:
    class Together(Squares):
        def __getitems__(self, indices: list[int]) -> list[Any]:
            assert isinstance(indices, list)
            return [(index, len(indices)) for index in indices]

    loader = make(Together(5), batch_size=3, collate_fn=as_is, num_workers=num_workers)
    assert list(loader) == [[(0, 3), (1, 3), (2, 3)], [(3, 2), (4, 2)]]
