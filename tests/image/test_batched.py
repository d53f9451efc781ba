"""A batch made at once is the batch made one by one, bit for bit: every operation, every kind of file, every kind of source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import stoker
from stoker.data.image_rows import row_reader
from stoker.image import (
    CenterCrop,
    ColorJitter,
    GaussianBlur,
    Normalize,
    Pipeline,
    RandAugment,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    ToFloat,
)
from stoker.order.keys import KeyedRandom, derive, derive_array, sample_key, sample_keys, set_current_key, uniforms
from tests.image.pictures import encoded, smooth

STATS = ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
PIPELINES = {
    "crop and flip": Pipeline(RandomResizedCrop(32), RandomHorizontalFlip()),
    "no antialiasing": Pipeline(RandomResizedCrop((24, 40), antialias=False), RandomVerticalFlip()),
    "a reducing crop": Pipeline(RandomResizedCrop(9, scale=(0.5, 1.0)), RandomHorizontalFlip(), RandomVerticalFlip()),
    "a resize": Pipeline(Resize((30, 20)), RandomHorizontalFlip(0.3)),
    "a centre that is padded in some": Pipeline(CenterCrop(64), RandomHorizontalFlip()),
    "a crop of a crop": Pipeline(CenterCrop(40), RandomResizedCrop(16)),
    "floats": Pipeline(RandomResizedCrop(32), ToFloat()),
    "normalised, channels last": Pipeline(RandomResizedCrop(32), Normalize(*STATS), layout="hwc"),
    "channels last": Pipeline(RandomResizedCrop(32), RandomHorizontalFlip(), layout="hwc"),
    "colour": Pipeline(
        RandomResizedCrop(33), RandAugment(2, 15), ColorJitter(0.4, 0.4, 0.4, 0.1), RandomGrayscale(0.3),
        GaussianBlur(5, p=0.5), Normalize(*STATS), RandomErasing(0.5),
    ),
}  # fmt: skip


def write_pictures(folder: Path) -> Path:
    """Files of every kind: those that are decoded in a batch, and those that have to be left out of it."""
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("JPEG", {}),
        ("JPEG", {"subsampling": "4:4:4"}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"restart_marker_blocks": 3}),
        ("PNG", {}),
    ]
    for number in range(15):
        format, options = kinds[number % len(kinds)]
        path = folder / f"class{number % 2}" / f"{number:02d}.{'jpg' if format == 'JPEG' else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(smooth(50 + 7 * number, 130 - 5 * number, number), format, **options))
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, stoker.data.Dataset]:
    root = tmp_path_factory.mktemp("batched")
    folder = write_pictures(root / "folder")
    stoker.pack(folder, root / "keep.stoker", num_workers=0)
    stoker.pack(folder, root / "raw.stoker", images="raw", max_side=90, num_workers=0)
    return {
        name: stoker.open(path)
        for name, path in [("folder", folder), ("keep", root / "keep.stoker"), ("raw", root / "raw.stoker")]
    }


def one_by_one(dataset: Any, indices: np.ndarray, keys: np.ndarray) -> list[Any]:
    samples = []
    for index, key in zip(indices.tolist(), keys.tolist(), strict=True):
        set_current_key(key)
        samples.append(dataset[index])
    set_current_key(None)
    return samples


@pytest.mark.parametrize("source", ["folder", "keep", "raw"])
@pytest.mark.parametrize("name", PIPELINES)
def test_a_batch_is_what_its_samples_are(source: str, name: str, sources: dict[str, Any]) -> None:
    mapped = sources[source].map(image=PIPELINES[name])
    reader = row_reader(mapped)
    assert reader is not None
    for epoch in range(3):
        indices = np.random.default_rng(epoch).permutation(len(mapped)).astype(np.int64)
        keys = sample_keys(3, epoch, np.arange(len(indices), dtype=np.int64))
        leaves = [np.full((len(indices), *leaf.shape), 77, leaf.carrier) for leaf in reader.layout.leaves]
        reader.read_into(indices, keys, leaves)
        for row, (image, label) in enumerate(one_by_one(mapped, indices, keys)):
            assert np.array_equal(leaves[0][row], image.numpy())
            assert leaves[1][row] == label


def test_wrappers_keep_the_bulk_path(sources: dict[str, Any]) -> None:
    chosen = sources["keep"].select([7, 3, 3, 12])
    for dataset in (
        chosen.map(image=PIPELINES["floats"]),
        sources["keep"].map(image=PIPELINES["floats"]).select([7, 3, 3, 12]),
        torch.utils.data.Subset(sources["keep"].map(image=PIPELINES["floats"]), [7, 3, 3, 12]),
    ):
        reader = row_reader(dataset)
        assert reader is not None
        keys = sample_keys(0, 0, np.arange(4, dtype=np.int64))
        leaves = [np.empty((4, *leaf.shape), leaf.carrier) for leaf in reader.layout.leaves]
        reader.read_into(np.arange(4, dtype=np.int64), keys, leaves)
        for row, (image, _) in enumerate(one_by_one(dataset, np.arange(4), keys)):
            assert np.array_equal(leaves[0][row], image.numpy())


@pytest.mark.parametrize(
    "pipeline",
    [
        Pipeline(RandomResizedCrop(32), lambda image: image),
        Pipeline(Resize(40)),
        Pipeline(Resize((40, 40)), CenterCrop(32)),
        Pipeline(RandomHorizontalFlip(), RandomResizedCrop(32)),
        Pipeline(RandomHorizontalFlip()),
    ],
    ids=["foreign code", "a size that varies", "a crop of what was resized", "a crop of what was flipped", "no size"],
)
def test_what_cannot_be_made_at_once_is_made_one_by_one(pipeline: Pipeline, sources: dict[str, Any]) -> None:
    assert row_reader(sources["keep"].map(image=pipeline)) is None


@pytest.mark.parametrize("executor", ["inline", "thread", "process"])
def test_a_store_gives_the_batches_of_its_folder(executor: str, sources: dict[str, Any]) -> None:
    def batches(source: str, executor: str) -> list[Any]:
        dataset = sources[source].map(image=PIPELINES["crop and flip"])
        workers = 0 if executor == "inline" else 2
        loader = stoker.Loader(dataset, 4, shuffle=True, seed=5, num_workers=workers, executor=executor)
        return [[part.clone() for part in batch] for _ in range(2) for batch in loader]

    expected, found = batches("folder", "inline"), batches("keep", executor)
    assert len(expected) == len(found) == 8
    for theirs, ours in zip(expected, found, strict=True):
        assert torch.equal(theirs[0], ours[0])
        assert torch.equal(theirs[1], ours[1])


def test_a_damaged_image_is_named_and_the_others_can_be_had(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "folder")
    broken = folder / "class0" / "04.png"
    broken.write_bytes(b"no image at all")
    dataset = stoker.open(folder).map(image=PIPELINES["crop and flip"])
    with pytest.raises(stoker.ImageError, match=r"class0.04\.png"):
        list(stoker.Loader(dataset, 15, seed=0))
    skipping = stoker.Loader(dataset, 15, seed=0, on_error="skip")
    assert [len(images) for images, _ in skipping] == [14]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**31))
def test_keys_in_arrays_are_keys(key: int, word: int) -> None:
    keys = np.array([key], np.uint64)
    assert int(derive_array(keys, word)[0]) == derive(key, word)
    assert uniforms(keys)[0] == KeyedRandom(key).uniform()
    assert sample_key(1, 2, 3) == int(sample_keys(1, 2, np.array([3]))[0])
