from __future__ import annotations

import errno
import mmap
from pathlib import Path

import numpy as np
import pytest
from disk import ROW_BYTES, blocks, drop, read_direct, rows, share_in_memory


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files of sizes that fit neither a block nor a page."""
    paths = [tmp_path / "a", tmp_path / "b"]
    for path, size in zip(paths, (5 * ROW_BYTES + 77, 2_500_001), strict=True):
        path.write_bytes(bytes(size))
    return paths


def test_blocks_cover_the_files_in_order(files: list[Path]) -> None:
    ranges = blocks(files, 1 << 20)
    assert sum(length for _, _, length in ranges) == sum(path.stat().st_size for path in files)
    assert ranges == sorted(ranges)


def test_rows_are_whole_and_each_comes_once(files: list[Path]) -> None:
    ranges = rows(files)
    assert len(set(ranges)) == len(ranges) == 5 + 2_500_001 // ROW_BYTES
    assert all(start + length <= path.stat().st_size for path, start, length in ranges)
    assert ranges != sorted(ranges)


def test_what_is_dropped_is_no_longer_in_memory_nor_brought_back_by_direct_reads(files: list[Path]) -> None:
    assert share_in_memory(files) == 1
    try:
        drop(files)
        total = read_direct(blocks(files, 1 << 20), depth=3)
    except (OSError, SystemExit) as error:  # a file system in memory
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        pytest.skip("temporary files are in memory here")
    assert total == sum(path.stat().st_size for path in files)
    assert share_in_memory(files) < 0.01


def test_what_is_mapped_cannot_be_dropped(files: list[Path]) -> None:
    mapped = np.memmap(files[0], np.uint8, "r")
    assert not mapped[:: mmap.PAGESIZE].any()
    with pytest.raises(SystemExit, match="cannot be dropped from memory"):
        drop(files)
