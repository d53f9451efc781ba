"""Verifying a store: every byte of every shard against its checksums, in parallel."""

from __future__ import annotations

import hashlib
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stoker.errors import StoreError
from stoker.store.manifest import Manifest, RowGroup, Shard, read_manifest, shard_path
from stoker.store.mapped import size_text

_BLOCK_BYTES = 4 << 20


def verify(
    path: str | os.PathLike[str],
    *,
    num_threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[str]:
    """Reads all of the store at `path`; the damages that were found, a sentence for each, with file, offset and rows. Empty: it is whole.

    Args:
        path: the store's folder.
        num_threads: that read and compute, without the GIL; by default one for each CPU.
        progress: called with (bytes read, bytes in all), from several threads.

    Raises:
        StoreError: the manifest itself is damaged.
    """
    root = os.fspath(path)
    manifest = read_manifest(root)
    total = sum(shard.num_bytes for shard in manifest.shards)
    read, lock = 0, threading.Lock()

    def count(num_bytes: int) -> None:
        nonlocal read
        with lock:  # held while it is told, so that it is told in order
            read += num_bytes
            if progress is not None:
                progress(read, total)

    with ThreadPoolExecutor(num_threads or os.cpu_count()) as pool:
        found = pool.map(lambda job: list(_damages(root, job[0], job[1], count)), _with_first_rows(manifest))
        return [text for texts in found for text in texts]


def _with_first_rows(manifest: Manifest) -> Iterator[tuple[Shard, int]]:
    first = 0
    for shard in manifest.shards:
        yield shard, first
        first += shard.num_rows


def _damages(root: str, shard: Shard, first_row: int, count: Callable[[int], object]) -> Iterator[str]:
    path = os.path.join(root, shard.name)
    try:
        path = shard_path(root, shard)
        size = os.path.getsize(path)
        if size != shard.num_bytes:
            yield size_text(path, size, shard.num_bytes)
        if _sha256(path, count) == shard.sha256:
            return
        found = list(_damaged_groups(path, shard.groups, first_row))
    except StoreError as error:
        yield str(error)
        return
    except OSError as error:
        yield f"the shard {path} cannot be read: {error.strerror}."
        return
    yield from found
    if not found and size == shard.num_bytes:
        end = max((group.offset + group.num_bytes for group in shard.groups), default=0)
        yield f"the shard {path} is altered at an offset from {end:,} on, behind its rows, where Arrow keeps its footer."


def _sha256(path: str, count: Callable[[int], object]) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            count(len(block))
    return digest.hexdigest()


def _damaged_groups(path: str, groups: tuple[RowGroup, ...], row: int) -> Iterator[str]:
    with Path(path).open("rb") as file:
        for group in groups:
            file.seek(group.offset)
            if f"{zlib.crc32(file.read(group.num_bytes)):08x}" != group.crc32:
                yield (
                    f"the row group at offset {group.offset:,} of {path} (rows {row:,} to {row + group.num_rows - 1:,}) "
                    "does not match its checksum."
                )
            row += group.num_rows
