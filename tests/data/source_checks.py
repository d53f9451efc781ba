"""What holds for every source, whatever it reads."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from stoker import Loader
from stoker.data import Dataset
from stoker.image import EncodedImage
from stoker.testing import batch_hash, epoch_hashes

_RAW = (EncodedImage, bytes, str, int, float, bool, np.ndarray, np.generic, torch.Tensor)


def check_source(dataset: Dataset, *, nested: bool = False) -> None:
    """A source gives one thing however it is read: by sample or in bulk, inline, by threads or workers, and after a pickle."""
    samples = [dataset[index] for index in range(len(dataset))]
    expected = [batch_hash(sample) for sample in samples]
    check_raw_values(dataset, nested=nested)
    for twin in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):
        assert [batch_hash(twin[index]) for index in range(len(dataset))] == expected
        assert twin.fingerprint() == dataset.fingerprint()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda index: batch_hash(dataset[index % len(dataset)]), range(40))) == [
            expected[index % len(dataset)] for index in range(40)
        ]
    check_bulk(dataset)
    check_private(dataset)
    assert not dataset.draws_randomness


def check_loaders(dataset: Any, **arguments: Any) -> None:
    """Worker processes and threads give the batches that the loop's own process gives."""
    plain: dict[str, Any] = {"batch_size": 4, "shuffle": True, "seed": 3, **arguments}
    inline = epoch_hashes(Loader(dataset, **plain))
    assert len(inline) == -(-len(dataset) // 4)
    for executor in ("process", "thread"):
        assert epoch_hashes(Loader(dataset, **plain, num_workers=2, executor=executor)) == inline


def check_raw_values(dataset: Dataset, *, nested: bool) -> None:
    """Raw values are of the types that a packed store can hold."""
    for index in range(len(dataset)):
        values = dataset.read(index)
        assert len(values) == len(dataset.columns)
        assert all(isinstance(value, (*_RAW, dict, list) if nested else _RAW) for value in values)


def check_bulk(dataset: Any) -> None:
    """A batch that is read in one go is the one that its samples make."""
    get_batch = getattr(dataset, "get_batch", None)
    if get_batch is None:
        return
    for indices in ([len(dataset) - 1, 0, 0], [0], list(range(len(dataset))), [1, 0] * 3):
        bulk = get_batch(np.array(indices, np.int64))
        collated = default_collate([dataset[index] for index in indices])
        assert batch_hash(bulk) == batch_hash(collated)
        assert type(bulk) is type(collated)
        assert not isinstance(bulk, list) or list(map(type, bulk)) == list(map(type, collated))
    for bad in (len(dataset), -1):
        with pytest.raises(IndexError, match=rf"index {bad} is out of range for {len(dataset)} samples"):
            get_batch(np.array([0, bad]))


def check_private(dataset: Any) -> None:
    """Whoever writes to what it was given changes nothing for others."""
    before = batch_hash(dataset[0])
    get_batch = getattr(dataset, "get_batch", None)
    for tensor in [*_tensors(dataset[0]), *(_tensors(get_batch(np.array([0, 1]))) if get_batch else [])]:
        tensor.fill_(1)
        tensor.zero_()
    assert batch_hash(dataset[0]) == before


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, list | tuple):
        return [tensor for part in value for tensor in _tensors(part)]
    return [value] if isinstance(value, torch.Tensor) else []
