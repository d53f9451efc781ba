"""The same batches: for any number of workers, any executor, any number of restarts, and any number of ranks at one global batch size."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

import stoker
from stoker import Loader
from stoker.image import Normalize, Pipeline, RandomHorizontalFlip, RandomResizedCrop
from stoker.testing import assert_resumes_at_every_batch, batch_hash, epoch_hashes

EPOCHS = 2

EXECUTORS: dict[str, dict[str, Any]] = {
    "inline": {},
    "1 process": {"executor": "process", "num_workers": 1},
    "2 processes": {"executor": "process", "num_workers": 2},
    "4 processes": {"executor": "process", "num_workers": 4},
    "2 persistent": {"executor": "process", "num_workers": 2, "persistent_workers": True},
    "2 forked": {"executor": "process", "num_workers": 2, "multiprocessing_context": "fork"},
}
THREADS = {f"{count} threads": {"executor": "thread", "num_workers": count} for count in (1, 2, 4)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """39 JPEGs in three classes, of several sizes: no multiple of any batch size."""
    root = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for number in range(39):
        path = root / f"class{number % 3}" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        coarse = Image.fromarray(generator.integers(0, 255, (6, 7, 3), dtype=np.uint8))
        coarse.resize((40 + number, 70 - number)).save(path, quality=90)
    return root


def unmodified_transform(image: Any) -> torch.Tensor:
    """What people write: draws from all three global generators."""
    array = np.asarray(image.resize((16, 16)) if isinstance(image, Image.Image) else image).astype(np.float32)
    if random.random() < 0.5:
        array = array[:, ::-1]
    noisy = torch.from_numpy(array * np.random.uniform(0.8, 1.2)).permute(2, 0, 1)
    return noisy + torch.randn(3, 16, 16)


class WithOwnGenerators(Dataset[Any]):
    """Keeps a generator of each kind, as some libraries do."""

    def __init__(self) -> None:
        self.numpy = np.random.default_rng(0)
        self.legacy = np.random.RandomState(0)
        self.python = random.Random(0)
        self.torch = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return 39

    def __getitem__(self, index: int) -> Any:
        draws = [
            self.numpy.normal(),
            self.legacy.rand(),
            self.python.random(),
            torch.rand((), generator=self.torch).item(),
        ]
        return torch.tensor(draws, dtype=torch.float64), index


def albumentations_dataset(folder: Path) -> Any:
    albumentations = pytest.importorskip("albumentations")
    steps = [
        albumentations.RandomCrop(24, 24),
        albumentations.GaussNoise(p=1.0),
        albumentations.RandomBrightnessContrast(p=0.5),
    ]
    return stoker.open(folder).map(image=Pipeline(albumentations.Compose(steps)))


DATASETS: dict[str, Callable[[Path], Any]] = {
    "pipeline": lambda folder: stoker.open(folder).map(image=Pipeline(RandomResizedCrop(24), RandomHorizontalFlip())),
    "pipeline with floats": lambda folder: stoker.open(folder).map(
        image=Pipeline(RandomResizedCrop(24), Normalize([0.5] * 3, [0.2] * 3), layout="hwc")
    ),
    "unmodified transform": lambda folder: stoker.open(folder).map(image=unmodified_transform),
    "pipeline around foreign code": lambda folder: stoker.open(folder).map(
        image=Pipeline(RandomResizedCrop(16), unmodified_transform)
    ),
    "albumentations": albumentations_dataset,
    "generators of its own": lambda folder: WithOwnGenerators(),
}


def make(dataset: Any, **arguments: Any) -> Loader:
    return Loader(dataset, **{"batch_size": 8, "shuffle": True, "seed": 11, **arguments})


@cache
def expected(name: str, folder: Path) -> tuple[list[str], ...]:
    """What an inline loader gives, and that it is random at all."""
    loader = make(DATASETS[name](folder))
    epochs = tuple(epoch_hashes(loader) for _ in range(EPOCHS))
    assert len({value for epoch in epochs for value in epoch}) == EPOCHS * len(epochs[0])
    return epochs


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("name", DATASETS)
def test_batches_do_not_depend_on_the_executor(name: str, executor: str, folder: Path) -> None:
    loader = make(DATASETS[name](folder), **EXECUTORS[executor])
    assert tuple(epoch_hashes(loader) for _ in range(EPOCHS)) == expected(name, folder)


@pytest.mark.parametrize("executor", THREADS)
@pytest.mark.parametrize("name", ["pipeline", "pipeline with floats"])
def test_batches_do_not_depend_on_the_number_of_threads(name: str, executor: str, folder: Path) -> None:
    loader = make(DATASETS[name](folder), **THREADS[executor])
    assert tuple(epoch_hashes(loader) for _ in range(EPOCHS)) == expected(name, folder)


def test_photographs_too(photos: Path) -> None:
    dataset = (
        stoker.open(photos).map(image=Pipeline(RandomResizedCrop(64), RandomHorizontalFlip())).select(range(0, 700, 6))
    )
    loaders = [
        make(dataset, batch_size=32, **arguments) for arguments in ({}, EXECUTORS["2 processes"], THREADS["2 threads"])
    ]
    hashes = [epoch_hashes(loader) for loader in loaders]
    assert hashes[0] == hashes[1] == hashes[2]


@pytest.mark.parametrize("name", DATASETS)
def test_resumed_at_every_batch_under_other_executors(name: str, folder: Path) -> None:
    dataset = DATASETS[name](folder)
    others = [EXECUTORS["2 processes"], EXECUTORS["inline"], EXECUTORS["2 persistent"]]
    if name.startswith("pipeline") and "foreign" not in name:
        others.append(THREADS["2 threads"])
    assert_resumes_at_every_batch(
        lambda: make(dataset), [lambda each=each: make(dataset, **each) for each in others], EPOCHS
    )


# Ranks


def on_rank(monkeypatch: pytest.MonkeyPatch, rank: int, world_size: int, dataset: Any, **arguments: Any) -> Loader:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(world_size))
    return make(dataset, **arguments)


def together(
    monkeypatch: pytest.MonkeyPatch, world_size: int, dataset: Any, batch_size: int, **arguments: Any
) -> list[list[str]]:
    """The rows of all ranks' batches, put together step by step, as hashes; rows that repeat another rank's are left out."""
    epochs: list[list[str]] = []
    loaders = [
        on_rank(monkeypatch, r, world_size, dataset, batch_size=batch_size, **arguments) for r in range(world_size)
    ]
    for _ in range(EPOCHS):
        steps: list[list[str]] = []
        for rank, loader in enumerate(loaders):
            monkeypatch.setenv("RANK", str(rank))
            for step, (images, labels) in enumerate(loader):
                steps.append([]) if step == len(steps) else None
                rows = [batch_hash((image, label)) for image, label in zip(images, labels, strict=True)]
                steps[step] += [row for row, valid in zip(rows, loader.valid, strict=True) if valid]
        epochs.append([row for step in steps for row in step])
    return epochs


@pytest.mark.parametrize("name", ["pipeline", "unmodified transform", "albumentations"])
@pytest.mark.parametrize("executor", ["inline", "2 processes"])
def test_ranks_together_are_one_rank(monkeypatch: pytest.MonkeyPatch, name: str, executor: str, folder: Path) -> None:
    dataset = DATASETS[name](folder)
    one = together(monkeypatch, 1, dataset, 32, **EXECUTORS[executor])
    assert len(one[0]) == 39
    for world_size in (2, 4):
        assert together(monkeypatch, world_size, dataset, 32 // world_size, **EXECUTORS[executor]) == one


def test_a_resume_may_have_another_number_of_ranks(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    dataset = DATASETS["pipeline"](folder)
    undisturbed = on_rank(monkeypatch, 0, 1, dataset, batch_size=8)
    rows = [batch_hash((i, t)) for images, labels in undisturbed for i, t in zip(images, labels, strict=True)]
    first = on_rank(monkeypatch, 1, 4, dataset, batch_size=2)
    iterator = iter(first)
    next(iterator), next(iterator)
    state = first.state_dict()
    assert state["samples"] == 16
    rest: dict[int, list[str]] = {}
    for rank in range(2):
        loader = on_rank(monkeypatch, rank, 2, dataset, batch_size=4)
        loader.load_state_dict(state)
        for step, (images, labels) in enumerate(loader):
            rest.setdefault(step, [])
            rest[step] += [batch_hash((i, t)) for i, t in zip(images, labels, strict=True)]
    assert [row for step in sorted(rest) for row in rest[step]] == rows[16:]
    loader = on_rank(monkeypatch, 0, 3, dataset, batch_size=4)
    with pytest.raises(stoker.StateError, match="no multiple of this loader's global batch size, 12"):
        loader.load_state_dict(state)


def test_ranks_without_a_seed_and_a_group_are_told_so(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    loader = on_rank(monkeypatch, 0, 2, DATASETS["pipeline"](folder), seed=None)
    with pytest.raises(
        stoker.ArgumentError,
        match=r"seed must be given where there are 2 ranks and no torch\.distributed process group",
    ):
        next(iter(loader))


# The training loop's own random state


@pytest.mark.parametrize("name", DATASETS)
def test_inline_loading_leaves_the_loop_s_random_state_alone(name: str, folder: Path) -> None:
    loader = make(DATASETS[name](folder))
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    plain = [(random.random(), np.random.rand(), torch.rand(()).item()) for _ in range(5)]
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    assert [(random.random(), np.random.rand(), torch.rand(()).item()) for _ in loader] == plain


def test_a_batch_can_be_had_again_at_any_time(folder: Path) -> None:
    for name in DATASETS:
        dataset = DATASETS[name](folder)
        loader = make(dataset)
        assert [[batch_hash(loader.batch(epoch, step)) for step in range(5)] for epoch in range(2)] == list(
            expected(name, folder)
        )
