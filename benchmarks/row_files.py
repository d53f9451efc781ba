"""Files of small samples, and how they are read: the dataset that people write by hand for torch, and Stoker's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import TensorDataset

import stoker
from stoker.data import HDF5, Arrays, Tokens

WINDOW = 1024
CHUNK_ROWS = 64
WINDOW_CHUNKS = (
    128  # chunks whose rows are mixed in a block shuffle: 8,192 rows, 16 MiB, past HDF5's own cache of 1 or 8 MiB
)


@dataclass(frozen=True)
class Case:
    """One file, read in one order by both.

    Attributes:
        title: what is read.
        theirs: for torch's DataLoader.
        ours: for stoker's Loader.
        order: int64, the samples of an epoch.
        goal: of the ratio.
    """

    title: str
    theirs: Any
    ours: Any
    order: NDArray[np.int64]
    goal: float


class TokenWindows(torch.utils.data.Dataset[Any]):
    """As nanoGPT reads its .bin files."""

    def __init__(self, path: Path) -> None:
        self.tokens = np.memmap(path, np.uint16, "r")

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // WINDOW

    def __getitem__(self, index: int) -> Any:
        start = index * WINDOW
        x = torch.from_numpy(self.tokens[start : start + WINDOW].astype(np.int64))
        y = torch.from_numpy(self.tokens[start + 1 : start + 1 + WINDOW].astype(np.int64))
        return x, y


class MappedImages(torch.utils.data.Dataset[Any]):
    """Rows of a memory-mapped .npy, copied, as torch will not have read-only memory."""

    def __init__(self, path: Path) -> None:
        self.images = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return torch.from_numpy(self.images[index].copy())


class HDF5Rows(torch.utils.data.Dataset[Any]):
    """Opens its file where it is first read, as every forum says."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.rows: Any = None
        with h5py.File(path, "r") as file:
            self.length = len(file[name])

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        if self.rows is None:
            self.rows = h5py.File(self.path, "r")[self.name]
        return torch.from_numpy(self.rows[index])


def cases(folder: Path, rows: int) -> list[Callable[[], Case]]:
    """What is compared; each makes its file in `folder` when it is called. `rows`: samples in a file."""
    generator = np.random.default_rng(0)
    return [
        lambda: _tokens(folder, rows, generator),
        *_images(folder, rows, generator),
        *_hdf5(folder, rows, generator),
        lambda: _hugging_face(rows, generator),
    ]


def _tokens(folder: Path, rows: int, generator: np.random.Generator) -> Case:
    path = folder / "tokens.bin"
    generator.integers(0, 50_257, rows * WINDOW + 1, np.uint16).tofile(path)
    order = generator.permutation(rows)
    return Case("token windows, uint16 to int64 x and y of 1,024", TokenWindows(path), Tokens(path, WINDOW), order, 12)


def _images(folder: Path, rows: int, generator: np.random.Generator) -> list[Callable[[], Case]]:
    """As a memory map is usually read, and as views of one tensor, the quickest that can be had from Python."""
    path, title = folder / "images.npy", "uint8 3×32×32 from .npy"
    np.save(path, generator.integers(0, 256, (rows, 3, 32, 32), np.uint8))
    order = generator.permutation(rows)

    def views() -> Case:
        tensor = torch.from_numpy(np.load(path, mmap_mode="c"))
        return Case(f"{title}, torch by views of one tensor", TensorDataset(tensor), Arrays(tensor), order, 3)

    return [lambda: Case(title, MappedImages(path), stoker.open(path), order, 7), views]


def _hdf5(folder: Path, rows: int, generator: np.random.Generator) -> list[Callable[[], Case]]:
    """2 KiB rows in chunks of 64, plain and compressed; shuffled, and shuffled in windows of 128 chunks."""
    path = folder / "rows.h5"
    levels = generator.integers(0, 16, (rows, 512)).astype(np.float32)  # compresses about six times
    with h5py.File(path, "w") as file:
        for name, options in {"plain": {}, "gzip": {"compression": "gzip", "compression_opts": 1}}.items():
            file.create_dataset(name, data=levels, chunks=(CHUNK_ROWS, 512), **options)
    shuffled, blocks = generator.permutation(rows), block_shuffled(rows, generator)

    def case(name: str, how: str, order: NDArray[np.int64], goal: float) -> Case:
        title = f"HDF5, float32 rows of 512, {name} chunks of {CHUNK_ROWS}, {how}"
        return Case(title, HDF5Rows(path, name), HDF5(path, [name]), order, goal)

    return [
        lambda: case("plain", "shuffled", shuffled, 2),
        lambda: case("gzip", "shuffled", shuffled[:6400], 1),
        lambda: case("plain", "block-shuffled", blocks, 5),
        lambda: case("gzip", "block-shuffled", blocks, 5),
    ]


def block_shuffled(rows: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Chunks in random order; the rows of each 128 of them mixed."""
    chunks = np.array_split(np.arange(rows), range(CHUNK_ROWS, rows, CHUNK_ROWS))
    order = generator.permutation(len(chunks))
    windows = [order[start : start + WINDOW_CHUNKS] for start in range(0, len(order), WINDOW_CHUNKS)]
    return np.concatenate([generator.permutation(np.concatenate([chunks[at] for at in window])) for window in windows])


def _hugging_face(rows: int, generator: np.random.Generator) -> Case:
    import datasets

    table = {"input_ids": generator.integers(0, 30_000, (rows, 128)), "label": generator.integers(0, 10, rows)}
    dataset = datasets.Dataset.from_dict(table).with_format("torch")
    order = generator.permutation(rows)[:12_800]
    return Case('Hugging Face, 128 ids and a label, with_format("torch")', dataset, dataset, order, 3)
