"""Does a store stream at the disk's speed? Rows of an image's size through stoker's Loader beside plain O_DIRECT reads.

    python benchmarks/disk.py [FOLDER on the disk]

A store of uint8 [3, 224, 224] is written, and read in order and shuffled, in turn with readers that pass the page cache
by: blocks of the same files in order, and ranges of a row's size in random order, with as many threads as the Loader has.
Before each turn the files are dropped from memory, which mincore(2) confirms. What lies below, a controller's or a host's
cache, is the same for both; but it may still know what the turn before has read.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import mmap
import os
import random
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import psutil
from compare import Contender, Turn, alternate, judge, own_cpu_s, single_threaded, tree_bytes

import stoker

ROW = (3, 224, 224)
ROW_BYTES = 3 * 224 * 224
BATCH = 64
ALIGNMENT = 4096  # bytes; no disk asks more of O_DIRECT
MB = 1_000_000

Range = tuple[Path, int, int]
"""A file, the first byte, and how many."""


@dataclass
class Reading(Contender):
    """Reads `files`, none of which is in memory. A batch is one MB here; `read()` returns how many bytes of use it gave."""

    files: Sequence[Path]
    read: Callable[[], int]

    def take_turn(self) -> Turn:
        drop(self.files)
        cpu_before, started = own_cpu_s(), perf_counter()
        num_bytes = self.read()
        seconds = perf_counter() - started
        return Turn(num_bytes / MB / seconds, 0, own_cpu_s() - cpu_before, tree_bytes(psutil.Process()))


# The page cache


def drop(files: Sequence[Path]) -> None:
    """Takes files out of the page cache.

    Raises:
        SystemExit: a hundredth or more of them is still there; a mapping of somebody's holds it.
    """
    gc.collect()
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # only clean pages can go
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    share = share_in_memory(files)
    if share >= 0.01:
        raise SystemExit(f"{share:.0%} of {files[0].parent} cannot be dropped from memory: there is nothing to measure")


def share_in_memory(files: Sequence[Path]) -> float:
    """How much of the files is in the page cache, from 0 to 1."""
    resident = pages = 0
    for path in files:
        flags = _mincore(np.memmap(path, np.uint8, "r"))
        resident, pages = resident + int((flags & 1).sum()), pages + len(flags)
    return resident / pages


def _mincore(mapped: np.ndarray) -> np.ndarray:
    """mincore(2): a byte for each page of a mapping, whose lowest bit says whether the page is in memory."""
    flags = np.zeros(-(-mapped.nbytes // mmap.PAGESIZE), np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    pointers = ctypes.c_void_p(mapped.ctypes.data), ctypes.c_size_t(mapped.nbytes), ctypes.c_void_p(flags.ctypes.data)
    if libc.mincore(*pointers):
        raise OSError(ctypes.get_errno(), "mincore")
    return flags


# O_DIRECT


def read_direct(ranges: Sequence[Range], depth: int) -> int:
    """Reads ranges in their order by `depth` threads, each of which takes the next one; returns the bytes of the ranges."""
    descriptors = {path: os.open(path, os.O_RDONLY | os.O_DIRECT) for path in {path for path, _, _ in ranges}}
    todo = iter(ranges)  # a list's iterator hands out each item once, whichever thread asks
    try:
        with ThreadPoolExecutor(depth) as pool:
            return sum(pool.map(lambda _: _read_all(todo, descriptors), range(depth)))
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def _read_all(todo: Iterator[Range], descriptors: dict[Path, int]) -> int:
    total = 0
    buffer = mmap.mmap(-1, 8 << 20)  # begins at a page, as O_DIRECT wants it
    with memoryview(buffer) as view:
        for path, start, length in todo:
            first = start // ALIGNMENT * ALIGNMENT
            whole = -(-(start + length - first) // ALIGNMENT) * ALIGNMENT
            if os.preadv(descriptors[path], [view[:whole]], first) < start + length - first:
                raise OSError(f"{path} ends before byte {start + length}")
            total += length
    buffer.close()
    return total


def blocks(files: Sequence[Path], block_bytes: int) -> list[Range]:
    """The whole files, in order."""
    sizes = [path.stat().st_size for path in files]
    return [
        (path, start, min(block_bytes, size - start))
        for path, size in zip(files, sizes, strict=True)
        for start in range(0, size, block_bytes)
    ]


def rows(files: Sequence[Path]) -> list[Range]:
    """Ranges of a row's size, which cover the files, in random order."""
    ranges = [
        (path, start, ROW_BYTES) for path in files for start in range(0, path.stat().st_size - ROW_BYTES + 1, ROW_BYTES)
    ]
    random.Random(0).shuffle(ranges)
    return ranges


# The store


def write_store(folder: Path, num_bytes: int) -> tuple[Path, list[Path]]:
    """Returns the store and those files of it that hold its rows. Rows are random, so that nothing below compresses them."""
    source, store = folder / "rows.npy", folder / "rows.stoker"
    rows = np.lib.format.open_memmap(source, "w+", np.uint8, (num_bytes // ROW_BYTES // BATCH * BATCH, *ROW))
    generator = np.random.default_rng(0)
    for start in range(0, len(rows), BATCH):
        rows[start : start + BATCH] = generator.integers(0, 256, (BATCH, *ROW), np.uint8)
    rows.flush()
    del rows
    stoker.pack(source, store)
    source.unlink()
    return store, sorted(path for path in store.rglob("*") if path.is_file() and path.stat().st_size > ROW_BYTES)


def read_store(store: Path, shuffle: bool, num_workers: int, executor: str) -> int:
    """A whole epoch; the store is opened anew, since files that somebody has mapped are not dropped."""
    loader = stoker.Loader(
        stoker.open(store), BATCH, shuffle=shuffle, num_workers=num_workers, executor=executor, seed=0
    )
    return sum(len(batch) for batch in loader) * ROW_BYTES


# The comparison


def survey(files: Sequence[Path], depths: Sequence[int], rounds: int) -> int:
    """Prints what the disk gives, and returns the size of block that gave most at the last of `depths`."""
    in_order = {
        (block, depth): Reading(
            f"blocks of {block >> 20} MiB in order, {depth} at a time", 1, files, partial(read_direct, ranges, depth)
        )
        for block in (1 << 20, 4 << 20)
        for ranges in [blocks(files, block)]
        for depth in depths
    }
    ranges = rows(files)
    at_random = [
        Reading(f"rows at random, {depth} at a time", 1, files, partial(read_direct, ranges, depth)) for depth in depths
    ]
    readings = [*in_order.values(), *at_random]
    alternate(readings, rounds)
    report(readings)
    return max((1 << 20, 4 << 20), key=lambda block: in_order[block, depths[-1]].rate)


def report(readings: Sequence[Reading]) -> None:
    """Prints a line for each: the median, the slowest and the fastest turn."""
    for reading in readings:
        rates = [turn.batches_per_s for turn in reading.turns]
        cpu_s = statistics.median(turn.cpu_s for turn in reading.turns)
        print(
            f"  {reading.name:<44}{reading.rate:>10,.0f} MB/s ({min(rates):,.0f} to {max(rates):,.0f})"
            f"{cpu_s:>8.2f} s CPU"
        )


def compare(title: str, disk: Reading, ours: Reading, rounds: int, goal: float) -> None:
    print(title)
    alternate([disk, ours], rounds)
    report([disk, ours])
    judge(ours, disk, goal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="where to write; by default, where temporary files go")
    parser.add_argument("--rounds", type=int, default=9)  # a disk is noisier than a processor
    parser.add_argument("--gib", type=float, default=2)
    parser.add_argument("--workers", type=int, default=4, help="of the Loader; also how many O_DIRECT reads at a time")
    parser.add_argument("--executor", default="thread", choices=["process", "thread"])
    arguments = parser.parse_args()
    single_threaded()
    warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores: they wait for the disk
    depth, rounds = arguments.workers, arguments.rounds
    with tempfile.TemporaryDirectory(prefix="stoker-disk-", dir=arguments.folder) as name:
        store, files = write_store(Path(name), int(arguments.gib * 2**30))
        print(f"the disk, {sum(path.stat().st_size for path in files) / MB:,.0f} MB in {len(files)} files")
        block = survey(files, (1, 16, depth), 3)
        through = partial(read_store, store, num_workers=depth, executor=arguments.executor)
        label = f"stoker, {depth} workers"
        direct = Reading(f"O_DIRECT, {depth} at a time", 1, files, partial(read_direct, blocks(files, block), depth))
        ours = Reading(label, 1, files, partial(through, shuffle=False))
        compare("a store in order, nothing in memory; beside O_DIRECT", direct, ours, rounds, 0.8)
        direct = Reading(f"O_DIRECT, {depth} at a time", 1, files, partial(read_direct, rows(files), depth))
        ours = Reading(label, 1, files, partial(through, shuffle=True))
        compare("rows of 150 KB at random, nothing in memory; beside O_DIRECT", direct, ours, rounds, 0.6)


if __name__ == "__main__":
    main()
