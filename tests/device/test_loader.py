"""Loader(device=...): batches that are there, operations that run there, a state that counts what the loop was given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import stoker
from stoker.data.placement import place_on_device
from stoker.errors import ArgumentError
from stoker.image import (
    BatchPipeline,
    ColorJitter,
    Mixup,
    Normalize,
    Pipeline,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    ToFloat,
)
from tests.image.pictures import smooth

CUDA = pytest.param("cuda", marks=pytest.mark.needs_cuda)
DEVICES = ["cpu", CUDA]
IMAGES = np.stack([smooth(40, 50, seed) for seed in range(22)]).transpose(0, 3, 1, 2).copy()
PER_SAMPLE = Pipeline(
    RandomResizedCrop(24),
    RandomHorizontalFlip(),
    ColorJitter(0.4, 0.4, 0.4),
    Normalize([0.5] * 3, [0.2] * 3),
    RandomErasing(),
)
PER_BATCH = BatchPipeline(Mixup(0.4), num_classes=3)


def source() -> stoker.data.Dataset:
    return stoker.data.Arrays(image=IMAGES, label=np.arange(22) % 3)


def load(dataset: Any, device: Any, **arguments: Any) -> stoker.Loader:
    return stoker.Loader(dataset, 4, shuffle=True, seed=6, device=device, **arguments)


def assert_alike(batch: Any, expected: Any, device: str) -> None:
    for found, wanted in zip(batch, expected, strict=True):
        assert found.device.type == device
        if device == "cpu":
            assert torch.equal(found, wanted)
        else:
            torch.testing.assert_close(found.cpu(), wanted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_are_those_without_a_device(device: str, num_workers: int) -> None:
    mapped = source().map(image=PER_SAMPLE, batch=PER_BATCH)
    loader, plain = load(mapped, device, num_workers=num_workers), load(mapped, None)
    for _ in range(2):
        expected = list(plain)
        for batch, wanted in zip(loader, expected, strict=True):
            assert_alike(batch, wanted, device)
    assert_alike(loader.batch(1, 3), expected[3], device)


def test_bytes_travel_and_the_rest_runs_there() -> None:
    mapped = source().map(image=PER_SAMPLE).select(np.arange(20)).map(batch=PER_BATCH)
    trimmed, work = place_on_device(mapped)
    assert trimmed[3][0].dtype is torch.uint8
    assert mapped[3][0].dtype is torch.float32
    assert work.describe() == [
        "image: ColorJitter(0.6…1.4, 0.6…1.4, 0.6…1.4, 0…0)", "image: Normalize()", "image: RandomErasing(p=0.5)",
        "batch: Mixup(alpha=0.4, p=1)",
    ]  # fmt: skip
    lines = load(mapped, "cpu").explain()
    assert "image: RandomHorizontalFlip(p=0.5) (decode)" in lines
    assert (
        "image: Normalize() (device) → image: RandomErasing(p=0.5) (device) → batch: Mixup(alpha=0.4, p=1) (device)"
        in lines
    )
    assert "\ndevice      cpu: batches stay where they are" in lines
    assert "image: Normalize() (sample)" in load(mapped, None).explain()
    assert "batch: BatchPipeline(Mixup(alpha=0.4, p=1)) (batch)" in load(mapped, None).explain()


@pytest.mark.parametrize(
    ("mapped", "left"),
    [
        pytest.param(lambda: source().map(image=PER_SAMPLE, batch=lambda batch: batch), [], id="foreign batch code"),
        pytest.param(
            lambda: source().map(image=PER_SAMPLE, batch=PER_BATCH).map(batch=lambda batch: batch), [], id="in a chain"
        ),
        pytest.param(lambda: source().map(image=PER_SAMPLE).map(image=lambda image: image), [], id="mapped again"),
        pytest.param(
            lambda: source().map(image=Pipeline(ToFloat(), lambda x: x, Normalize([0.5] * 3, [1.0] * 3))),
            ["image: Normalize()"],
            id="a callable within",
        ),
        pytest.param(lambda: source().map(image=Pipeline(ToFloat(), layout="hwc")), [], id="channels last"),
        pytest.param(
            lambda: source().map(batch=BatchPipeline(ToFloat())), ["batch: ToFloat(torch.float32)"], id="bulk"
        ),
        pytest.param(lambda: source(), [], id="nothing to do"),
        pytest.param(
            lambda: source().map(image=PER_SAMPLE, batch=PER_BATCH).filter(label=lambda label: True).map(label=int),
            [],
            id="below a filter",
        ),
        pytest.param(
            lambda: (
                source()
                .map(image=PER_SAMPLE)
                .filter(image=lambda image: image.is_floating_point())
                .map(batch=PER_BATCH)
            ),
            ["batch: Mixup(alpha=0.4, p=1)"],
            id="a filter that looks",
        ),
    ],
)
def test_nothing_moves_across_foreign_code(mapped: Any, left: list[str]) -> None:
    dataset = mapped()
    assert place_on_device(dataset)[1].describe() == left
    for batch, expected in zip(load(dataset, "cpu"), load(dataset, None), strict=True):
        assert_alike(batch, expected, "cpu")


def test_what_is_read_in_bulk_stays_so() -> None:
    trimmed, _ = place_on_device(source().map(batch=BatchPipeline(ToFloat())))
    assert type(trimmed) is stoker.data.Arrays
    assert "in bulk, one gather per batch" in load(source().map(batch=BatchPipeline(ToFloat())), "cpu").explain()


@pytest.mark.parametrize("device", ["meta", CUDA])
@pytest.mark.parametrize("executor", ["inline", "thread", "process"])
def test_the_state_counts_what_the_loop_was_given(device: str, executor: str) -> None:
    def loader() -> stoker.Loader:
        workers = 0 if executor == "inline" else 2
        return load(torch.utils.data.TensorDataset(torch.arange(22)), device, executor=executor, num_workers=workers)

    first = loader()
    for step, (batch,) in enumerate(first):
        assert batch.device.type == device
        assert first.state_dict()["samples"] == min(22, 4 * (step + 1))
        assert len(first.valid) == len(batch)
    assert step == 5
    assert first.state_dict()["epoch"] == 1
    for taken in (0, 2, 5):
        again, resumed = loader(), loader()
        for _, _ in zip(range(taken), again):  # noqa: B905
            pass
        resumed.load_state_dict(again.state_dict())
        assert len(list(resumed)) == 6 - taken


class Failing(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> int:
        if index == 9:
            raise ValueError("sample 9 is damaged")
        return index


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_error_comes_at_its_place_and_the_next_batch_can_be_had(num_workers: int) -> None:
    loader = stoker.Loader(Failing(), 4, num_workers=num_workers, device="cpu")
    iterator, seen = iter(loader), []
    for _ in range(2):
        seen += next(iterator).tolist()
    with pytest.raises(ValueError, match="sample 9 is damaged"):
        next(iterator)
    assert loader.state_dict()["samples"] == 12
    for batch in iterator:
        seen += batch.tolist()
    assert seen == [*range(8), *range(12, 20)]


def test_skipped_samples_and_streams() -> None:
    found = [batch.tolist() for batch in stoker.Loader(Failing(), 4, on_error="skip", device="cpu")]
    assert [len(batch) for batch in found] == [4, 4, 3, 4, 4]
    images = source().map(label=lambda label: Failing()[int(label)] if label != 1 else Failing()[9])
    jittered = images.map(image=Pipeline(ColorJitter(0.5)))
    rows = [batch[0] for batch in stoker.Loader(jittered, 4, on_error="skip", device="cpu")]
    assert [len(row) for row in rows] == [len(batch[0]) for batch in stoker.Loader(jittered, 4, on_error="skip")]

    class Stream(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(range(10))

    assert [batch.tolist() for batch in stoker.Loader(Stream(), 4, device="cpu")] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]


@pytest.mark.parametrize("persistent", [False, True])
def test_leaving_early_leaves_nothing_and_the_next_epoch_begins_at_its_beginning(
    persistent: bool, no_leaks: Any
) -> None:
    loader = load(source(), "cpu", num_workers=2, executor="process", persistent_workers=persistent)
    plain = load(source(), None)
    next(iter(loader)), next(iter(plain))
    for batch, expected in zip(loader, plain, strict=True):
        assert_alike(batch, expected, "cpu")
    del loader


def test_a_device_has_to_be_there() -> None:
    with pytest.raises(ArgumentError, match="device must be a torch device"):
        load(source(), "gpu")
