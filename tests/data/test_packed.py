"""A packed store as a dataset: batches, loaders, pickles, memory, variants."""

from __future__ import annotations

import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

import stoker
from stoker import Loader
from stoker.data import Arrays
from stoker.data.packed import Packed
from stoker.order.keys import set_current_epoch
from stoker.testing import assert_resumes_at_every_batch, batch_hash, epoch_hashes
from tests.leaks import Holdings
from tests.store.every_kind import Made, Named, assert_same, numbers, structured

ROOT = Path(__file__).resolve().parents[2]


def plain(index: int) -> dict[str, Any]:
    """What a whole batch can be read of."""
    return {**numbers(index), "text": f"text {index}" * (index % 3), "bytes": bytes(index)}


def pack(make: Callable[[int], Any], length: int, folder: Path, **options: Any) -> Packed:
    stoker.pack(Made(make, length), folder / "a.stoker", num_workers=0, **options)
    return Packed(folder / "a.stoker", check=True)


def test_open_knows_a_store(tmp_path: Path) -> None:
    pack(plain, 3, tmp_path)
    store = stoker.open(tmp_path / "a.stoker")
    assert isinstance(store, Packed)
    assert repr(store).endswith(
        "3 samples of whole: scalar, real: scalar, flag: scalar, generic: scalar, zero_dim: scalar, tensor: tensor, array: tensor, "
        "half: tensor, brain: tensor, mask: tensor, text: string, bytes: bytes)"
    )


@pytest.mark.parametrize("make", [plain, lambda index: (index, np.full(2, index)), lambda index: torch.ones(2) * index])
def test_a_batch_is_what_torch_collates_of_the_samples(make: Callable[[int], Any], tmp_path: Path) -> None:
    store = pack(make, 30, tmp_path, shard_bytes=60)
    assert len(store.reader.manifest.shards) > 3
    indices = np.array([29, 0, 7, 7, 15])
    assert_same(store.get_batch(indices), default_collate([make(int(index)) for index in indices]))


@pytest.mark.parametrize("make", [plain, structured])
@pytest.mark.parametrize("how", [{"num_workers": 0}, {"num_workers": 2}, {"num_workers": 2, "executor": "thread"}])
def test_a_loader_gives_the_source_s_batches(
    make: Any, how: dict[str, Any], tmp_path: Path, no_leaks: Holdings
) -> None:
    def short(index: int) -> Any:
        sample = make(index)
        return sample if make is plain else (sample[1], sample[2], sample[0]["a"])

    store = pack(short, 23, tmp_path, shard_bytes=300)
    expected = epoch_hashes(Loader(Made(short, 23), batch_size=4, shuffle=True, seed=5))
    assert epoch_hashes(Loader(store, batch_size=4, shuffle=True, seed=5, **how)) == expected


def test_torch_s_own_loader_reads_it(tmp_path: Path) -> None:
    store = pack(plain, 23, tmp_path)
    found = epoch_hashes(DataLoader(store, batch_size=4, num_workers=2, multiprocessing_context="fork"))
    assert found == epoch_hashes(DataLoader(Made(plain, 23), batch_size=4))


def test_it_travels_as_its_manifest_and_its_place(tmp_path: Path) -> None:
    store = pack(plain, 9, tmp_path)
    store[0]
    again = pickle.loads(pickle.dumps(store))
    assert_same([again[index] for index in range(9)], [plain(index) for index in range(9)])
    assert_same(again.get_batch(np.arange(3)), store.get_batch(np.arange(3)))
    assert len(pickle.dumps(store)) < 10_000


def test_a_store_that_grows_meanwhile_stays_the_same_one_to_those_who_have_it(tmp_path: Path) -> None:
    stoker.pack(Arrays(np.arange(5)), tmp_path / "a", num_workers=0)
    store = Packed(tmp_path / "a")
    before = store.fingerprint()
    stoker.pack(Arrays(np.arange(9)), tmp_path / "a", num_workers=0, append=True)
    assert (len(pickle.loads(pickle.dumps(store))), store.fingerprint()) == (5, before)
    assert len(Packed(tmp_path / "a")) == 9
    assert Packed(tmp_path / "a").fingerprint() != before


def test_memory_that_is_handed_out_is_private_and_writable(tmp_path: Path) -> None:
    store = pack(lambda index: {**numbers(index), "ragged": np.arange(index)}, 5, tmp_path)
    sample = store[4]
    for value in sample.values():
        if isinstance(value, torch.Tensor):
            value.fill_(0)
        elif isinstance(value, np.ndarray):
            value[:] = 0
    assert_same(store[4], {**numbers(4), "ragged": np.arange(4)})


def test_a_batch_s_memory_is_its_own(tmp_path: Path) -> None:
    store = pack(numbers, 5, tmp_path)
    for value in store.get_batch(np.arange(5)).values():
        value.fill_(0)
    assert_same(store.get_batch(np.arange(5)), default_collate([numbers(index) for index in range(5)]))


def test_maps_selections_and_splits_work_as_on_its_source(tmp_path: Path) -> None:
    pairs = Arrays(x=np.arange(40).reshape(20, 2), y=np.arange(20))
    stoker.pack(pairs, tmp_path / "a", num_workers=0)
    store = stoker.open(tmp_path / "a")
    for change in (
        lambda it: it.map(x=lambda value: value + 1),
        lambda it: it.select([3, 1, 3]),
        lambda it: it.split(0.5)[1],
        lambda it: it.map(batch=lambda batch: [batch[0] * 2, batch[1]]).select(range(7)),
    ):
        assert epoch_hashes(Loader(change(store), batch_size=3)) == epoch_hashes(Loader(change(pairs), batch_size=3))


def test_a_loader_over_it_resumes_at_every_batch(tmp_path: Path) -> None:
    store = pack(plain, 13, tmp_path)
    assert_resumes_at_every_batch(lambda: Loader(store, batch_size=3, shuffle=True, seed=1))


def test_names_and_classes_are_the_source_s(tmp_path: Path) -> None:
    names = ["a/1", "b/ä", "b/\udcff.jpg"]  # the last one is no UTF-8 on the disk
    stoker.pack(Named(names, ("a", "b")), tmp_path / "a", num_workers=0)
    store = Packed(tmp_path / "a")
    assert [store.sample_name(index) for index in range(3)] == ["a/1", "b/ä", r"b/\xff.jpg"]
    assert store.sample_path(1) == f"{tmp_path / 'a'}[b/ä]"
    assert (store.classes, store.class_to_idx) == (["a", "b"], {"a": 0, "b": 1})
    assert [store[index] for index in range(3)] == [Named(names)[index] for index in range(3)]


def test_an_index_out_of_range_says_so(tmp_path: Path) -> None:
    store = pack(plain, 3, tmp_path)
    with pytest.raises(IndexError, match="index 3 is out of range for 3 samples"):
        store[3]
    assert_same(store[-1], plain(2))
    with pytest.raises(IndexError, match=r"rows must be in \[0, 3\); got 0 to 3"):
        store.get_batch(np.arange(4))


def test_several_threads_may_read_at_once(tmp_path: Path) -> None:
    store = pack(plain, 64, tmp_path, shard_bytes=200)
    found = epoch_hashes(Loader(store, batch_size=2, num_workers=8, executor="thread"))
    assert found == epoch_hashes(Loader(Made(plain, 64), batch_size=2))


def test_many_shards_need_no_more_descriptors_than_few(tmp_path: Path) -> None:
    stoker.pack(Arrays(np.arange(80)), tmp_path / "a", num_workers=0, shard_bytes=8)
    assert len(Packed(tmp_path / "a").reader.manifest.shards) == 80
    code = (
        "import sys, resource, numpy as np; from stoker.data.packed import Packed; import stoker\n"
        "store = Packed(sys.argv[1], check=True); resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "assert store.get_batch(np.arange(80)).tolist() == list(range(80)); assert stoker.verify(sys.argv[1]) == []"
    )
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 64
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=True, cwd=ROOT)


# Variants


def varied(index: int) -> Any:
    return index, torch.rand(2)


def test_each_epoch_shows_another_variant_and_k_epochs_all_of_them(tmp_path: Path) -> None:
    store = pack(varied, 20, tmp_path, augment=3, shard_bytes=100)
    assert (len(store), store.reader.num_rows, store.variants) == (20, 60, 3)
    seen: list[list[Any]] = [[] for _ in range(20)]
    for epoch in range(6):
        set_current_epoch(epoch)
        for index in range(20):
            seen[index].append(tuple(store[index][1].tolist()))
        both = store.get_batch(np.arange(20))
        assert_same(both, default_collate([store[index] for index in range(20)]))
    set_current_epoch(0)
    for variants in seen:
        assert len(set(variants[:3])) == 3
        assert variants[:3] == variants[3:]


@pytest.mark.parametrize("bulk", [True, False])
def test_variants_are_the_same_ones_whoever_loads_them(bulk: bool, tmp_path: Path) -> None:
    make = varied if bulk else lambda index: (*varied(index), [1] * 3)
    store = pack(make, 20, tmp_path, augment=3)
    assert hasattr(store, "get_batch") is bulk

    def epochs(**how: Any) -> list[list[str]]:
        loader = Loader(store, batch_size=4, shuffle=True, seed=3, **how)
        return [epoch_hashes(loader) for _ in range(4)]

    expected = epochs()
    assert len({tuple(hashes) for hashes in expected}) == 4
    assert epochs(num_workers=2) == expected
    assert epochs(num_workers=2, executor="thread") == expected


def test_an_epoch_of_a_loader_shows_each_sample_once(tmp_path: Path) -> None:
    store = pack(varied, 20, tmp_path, augment=2)
    loader = Loader(store, batch_size=5, seed=3)
    first, second, third = ([row for batch in loader for row in batch[1].tolist()] for _ in range(3))
    assert first == third
    assert all(one != other for one, other in zip(first, second, strict=True))
    assert batch_hash(torch.tensor(first)) == batch_hash(torch.tensor(third))
