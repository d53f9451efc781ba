"""Arguments, attributes and lengths, as DataLoader's documentation has them."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
)

from tests.fidelity.loaders import Shares, Sized, Squares, as_is, both_loaders

TEN = TensorDataset(torch.arange(10))
BY_THREE = BatchSampler(SequentialSampler(TEN), 3, drop_last=False)
WRONG: list[tuple[dict[str, Any], type[Exception] | tuple[type[Exception], ...], str]] = [
    ({"num_workers": -1}, ValueError, "num_workers option should be non-negative"),
    ({"timeout": -1}, ValueError, "timeout option should be non-negative"),
    ({"prefetch_factor": 2}, ValueError, "prefetch_factor option could only be specified in multiprocessing"),
    ({"prefetch_factor": -1, "num_workers": 1}, ValueError, "prefetch_factor option should be non-negative"),
    ({"prefetch_factor": 0, "num_workers": 1}, (AssertionError, ValueError), "prefetch_factor must be"),
    ({"timeout": 1}, (AssertionError, ValueError), "timeout"),
    ({"persistent_workers": True}, ValueError, r"persistent_workers option needs num_workers > 0"),
    ({"batch_size": None, "drop_last": True}, ValueError, "batch_size=None option disables auto-batching"),
    ({"batch_size": 0}, ValueError, "batch_size"),
    ({"batch_size": 2.5}, ValueError, "batch_size"),
    ({"batch_size": "4"}, ValueError, "batch_size"),
    ({"batch_size": True}, ValueError, "batch_size"),
    ({"drop_last": 3}, ValueError, "drop_last should be a boolean value"),
    ({"multiprocessing_context": "fork"}, ValueError, r"multi-process loading \(num_workers > 0\), but got"),
    ({"multiprocessing_context": "bad", "num_workers": 1}, ValueError, "should specify a valid start method in"),
    ({"multiprocessing_context": object(), "num_workers": 1}, TypeError, "should be a valid context object"),
    ({"sampler": range(10), "shuffle": True}, ValueError, "sampler option is mutually exclusive with shuffle"),
    (
        {"sampler": range(10), "batch_sampler": BY_THREE, "shuffle": 3},
        ValueError,
        "sampler option is mutually exclusive with shuffle",
    ),
    ({"batch_sampler": BY_THREE, "batch_size": 11}, ValueError, "batch_sampler option is mutually exclusive with"),
    ({"batch_sampler": BY_THREE, "shuffle": True}, ValueError, "batch_sampler option is mutually exclusive with"),
    ({"batch_sampler": BY_THREE, "drop_last": True}, ValueError, "batch_sampler option is mutually exclusive with"),
    ({"batch_sampler": BY_THREE, "sampler": range(3)}, ValueError, "batch_sampler option is mutually exclusive with"),
    ({"dataset": Shares(9), "shuffle": True}, ValueError, "with IterableDataset: expected unspecified shuffle"),
    ({"dataset": Shares(9), "sampler": range(3)}, ValueError, "with IterableDataset: expected unspecified sampler"),
    (
        {"dataset": Shares(9), "batch_sampler": BY_THREE},
        ValueError,
        "with IterableDataset: expected unspecified batch_sampler",
    ),
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # torch's half-made iterator
@both_loaders
@pytest.mark.parametrize(
    ("arguments", "error", "text"), WRONG, ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", str(value))[:60]
)
def test_wrong_arguments(make: Any, arguments: dict[str, Any], error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        iter(make(**{"dataset": TEN, **arguments}))


@both_loaders
@pytest.mark.parametrize(
    "name", ["batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"]
)
def test_attributes_that_stay_as_they_are(make: Any, name: str) -> None:
    loader = make(TEN)
    text = f"{name} attribute should not be set after {make.__name__} is initialized"
    with pytest.raises(ValueError, match=text):
        setattr(loader, name, {})


@both_loaders
def test_attributes_that_may_be_set(make: Any) -> None:
    loader = make(Squares(4), batch_size=4)
    assert next(iter(loader)).tolist() == [0, 1, 4, 9]
    loader.collate_fn = as_is
    assert next(iter(loader)) == [0, 1, 4, 9]
    loader.num_workers, loader.prefetch_factor, loader.timeout = 1, 2, 60
    assert next(iter(loader)) == [0, 1, 4, 9]


@both_loaders
def test_defaults(make: Any) -> None:
    loader = make(TEN)
    assert (loader.batch_size, loader.num_workers, loader.pin_memory, loader.drop_last) == (1, 0, False, False)
    assert (loader.timeout, loader.prefetch_factor, loader.persistent_workers) == (0, None, False)
    assert (loader.worker_init_fn, loader.generator, loader.multiprocessing_context) == (None, None, None)
    assert loader.collate_fn is default_collate
    assert make(TEN, batch_size=None).collate_fn is default_convert
    assert make(TEN, num_workers=1).prefetch_factor == 2
    assert make(TEN, batch_sampler=BY_THREE).batch_size is None
    assert type(loader.batch_sampler) is BatchSampler
    assert isinstance(make(TEN, shuffle=True).sampler, RandomSampler)


@both_loaders
@pytest.mark.parametrize(
    ("arguments", "length"),
    [
        ({}, 10),
        ({"batch_size": 3}, 4),
        ({"batch_size": 3, "drop_last": True}, 3),
        ({"batch_size": 5, "shuffle": True}, 2),
        ({"batch_size": 16, "drop_last": True}, 0),
        ({"batch_size": None}, 10),
        ({"batch_sampler": BY_THREE}, 4),
        ({"batch_sampler": [[1], [2, 3]]}, 2),
        ({"sampler": [4, 4, 4], "batch_size": 2}, 2),
        ({"sampler": RandomSampler(TEN, replacement=True, num_samples=15), "batch_size": 6}, 3),
        ({"sampler": WeightedRandomSampler([1.0] * 10, 7), "batch_size": 2}, 4),
        ({"sampler": SubsetRandomSampler(range(5)), "batch_size": 2, "drop_last": True}, 2),
    ],
)
def test_its_length_is_the_number_of_its_batches(make: Any, arguments: dict[str, Any], length: int) -> None:
    loader = make(TEN, **arguments)
    assert len(loader) == length
    assert len(iter(loader)) == length
    assert len(list(loader)) == length


@both_loaders
@pytest.mark.parametrize(("batch_size", "drop_last", "length"), [(1, False, 10), (3, False, 4), (3, True, 3)])
def test_the_length_of_an_iterable_dataset_is_what_it_says(
    make: Any, batch_size: int, drop_last: bool, length: int
) -> None:
    assert len(make(Sized(10, length=10), batch_size=batch_size, drop_last=drop_last)) == length
    with pytest.raises(TypeError, match=r"has no len\(\)"):
        len(make(Shares(10)))


@both_loaders
def test_a_sampler_without_a_length(make: Any) -> None:
    class Forever:
        def __iter__(self) -> Any:
            return iter(lambda: 3, None)

    loader = make(Squares(), sampler=Forever(), batch_size=2)
    with pytest.raises(TypeError, match=r"has no len\(\)"):
        len(loader)
    assert next(iter(loader)).tolist() == [9, 9]


@both_loaders
def test_a_dataset_that_grows(make: Any) -> None:
    dataset = [torch.ones(4) for _ in range(4)]
    loaders = [make(dataset, shuffle=shuffle) for shuffle in (False, True)]
    dataset.append(torch.ones(4))
    assert [len(loader) for loader in loaders] == [5, 5]
    assert len(list(loaders[0])) == 5


@both_loaders
def test_more_workers_than_cpus_are_warned_of(make: Any) -> None:
    with pytest.warns(UserWarning, match="excessive worker creation might get DataLoader running slow or even freeze"):
        make(TEN, num_workers=1000)


@both_loaders
def test_a_loader_pickles_and_its_iterator_does_not(make: Any) -> None:
    loader = pickle.loads(pickle.dumps(make(Squares(5), batch_size=2)))
    assert [batch.tolist() for batch in loader] == [[0, 1], [4, 9], [16]]
    with pytest.raises(NotImplementedError, match="cannot be pickled"):
        pickle.dumps(iter(loader))
