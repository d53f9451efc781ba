"""HDF5 files as datasets."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import stoker
from stoker import Loader
from stoker.data import HDF5
from stoker.data.hdf5 import _Numbers
from stoker.data.optional import require
from stoker.testing import batch_hash
from tests.data.source_checks import check_loaders, check_source
from tests.leaks import Holdings

LENGTH = 10
COLUMNS: dict[str, Any] = {
    "bool": np.arange(LENGTH) % 2 == 0,
    "group/deep/ints": np.arange(LENGTH * 6, dtype=np.int32).reshape(LENGTH, 2, 3),
    "half": np.arange(LENGTH, dtype=np.float16),
    "label": np.arange(LENGTH),
    "swapped": np.arange(LENGTH, dtype=">u2"),
}


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "numbers.h5", "w") as file:
        for name, values in COLUMNS.items():
            file[name] = values
        file["version"] = 3  # without dimensions: no column
        file.create_dataset("zipped", data=np.arange(LENGTH * 4).reshape(LENGTH, 4), chunks=(3, 4), compression="gzip")
    return tmp_path / "numbers.h5"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "texts.h5", "w") as file:
        file["name"] = [f"ñ{number}" for number in range(LENGTH)]
        file["fixed"] = np.array([f"f{number}".encode() for number in range(LENGTH)])
        ragged = file.create_dataset("ragged", (LENGTH,), h5py.vlen_dtype(np.float32))
        for number in range(LENGTH):
            ragged[number] = np.arange(number)
    return tmp_path / "texts.h5"


def test_datasets_of_one_length_are_columns(numbers: Path) -> None:
    dataset = stoker.open(numbers)
    assert dataset.columns == (*COLUMNS, "zipped")
    assert len(dataset) == LENGTH
    sample = dict(zip(dataset.columns, dataset[3], strict=True))
    assert [(value.dtype, tuple(value.shape)) for value in sample.values()] == [
        (torch.bool, ()), (torch.int32, (2, 3)), (torch.float16, ()), (torch.int64, ()), (torch.uint16, ()),
        (torch.int64, (4,)),
    ]  # fmt: skip
    assert sample["group/deep/ints"].tolist() == COLUMNS["group/deep/ints"][3].tolist()
    assert sample["swapped"].item() == 3
    assert dataset.sample_path(3) == str(numbers)


def test_it_is_read_alike_in_every_way(numbers: Path, texts: Path, no_leaks: Holdings) -> None:
    check_source(HDF5(numbers))
    check_loaders(HDF5(numbers))
    check_source(HDF5(texts))
    check_source(HDF5(texts, ["name", "fixed"]))
    check_loaders(HDF5(texts, ["name"]))


def test_strings_and_arrays_of_any_length(texts: Path) -> None:
    dataset = HDF5(texts, columns=["ragged", "name", "fixed"])
    ragged, name, fixed = dataset[3]
    assert (ragged.tolist(), ragged.dtype, name, fixed) == ([0, 1, 2], torch.float32, "ñ3", "f3")
    assert dataset.get_batch is None
    assert HDF5(texts, ["name"]).get_batch(np.array([2, 0])) == ["ñ2", "ñ0"]  # type: ignore[misc]


@settings(max_examples=60)
@given(st.lists(st.integers(0, 99), max_size=60), st.integers(0, 7), st.sampled_from([1, 16 << 10]))
def test_rows_are_gathered_run_by_run(indices: list[int], chunk_rows: int, width: int) -> None:
    class Rows:
        """Numbers, as h5py has them; counts the slices that are read."""

        shape, dtype = (100, width), np.dtype(np.float64)
        chunks = (chunk_rows, width) if chunk_rows else None
        reads = 0

        def __getitem__(self, selection: Any) -> Any:
            self.reads += 1
            return table[selection]

    table = np.broadcast_to(np.arange(100.0)[:, None], (100, width))
    rows = Rows()
    batch = _Numbers("path", "name", rows).batch(np.array(indices, np.int64))
    assert batch[:, 0].tolist() == indices
    assert rows.reads <= len(set(indices))
    if chunk_rows:
        assert rows.reads <= len({index // chunk_rows for index in indices})
    elif width == 1:
        assert rows.reads == bool(indices)  # narrow rows: reading what lies between them is cheaper than another call


def test_a_forked_process_opens_the_file_anew(numbers: Path) -> None:
    dataset = HDF5(numbers)
    expected = batch_hash(dataset[1])
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        os.write(writing, batch_hash(dataset[1]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert answer.read() == expected
    assert batch_hash(dataset[1]) == expected


def test_torch_s_own_workers_read_it(numbers: Path) -> None:
    dataset = HDF5(numbers)
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, num_workers=2)
    assert [batch_hash(batch) for batch in loader] == [batch_hash(batch) for batch in Loader(dataset, batch_size=4)]


# What cannot be read


def write(path: Path, **datasets: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


@pytest.mark.parametrize("content", [b"", b"no HDF5 at all", b"\x89HDF\r\n\x1a\n" + b"\xff" * 200])
def test_what_is_no_hdf5_is_named(tmp_path: Path, content: bytes, no_leaks: Holdings) -> None:
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(stoker.DataError, match=r"cannot read .*x\.h5 as HDF5: "):
        stoker.open(tmp_path / "x.h5")


def test_a_truncated_file_is_named(numbers: Path) -> None:
    numbers.write_bytes(numbers.read_bytes()[:-2000])
    with pytest.raises(stoker.DataError, match=r"cannot read .*numbers\.h5 as HDF5: .*truncated"):
        HDF5(numbers)


def test_other_lengths_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", a=np.zeros(3), b=np.zeros((4, 2)), c=np.zeros(3))
    with pytest.raises(
        stoker.DataError, match=r"must have one length; got a: 3, b: 4, c: 3\. Name those of one: columns=\[\.\.\.\]"
    ):
        HDF5(path)
    assert HDF5(path, ["c", "a"]).columns == ("c", "a")
    with pytest.raises(stoker.ArgumentError, match=r"which has a, b, c; got d"):
        HDF5(path, ["a", "d"])
    with pytest.raises(stoker.ArgumentError, match="which has none; at least one is needed"):
        HDF5(write(tmp_path / "empty.h5"))


def test_types_that_no_column_has(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", a=np.zeros(3), pairs=np.zeros(3, [("x", "f4"), ("y", "i4")]))
    with pytest.raises(stoker.TypeMismatchError, match=r"column 'pairs' of .*x\.h5 has the type .* Name the others"):
        HDF5(path)
    assert len(HDF5(path, ["a"])) == 3


def test_data_in_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"12345678" * 3)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", (3,), np.int64, external=[(str(tmp_path / "secret"), 0, 24)])
    with pytest.raises(stoker.DataError, match=r"column 'a' of .*x\.h5 keeps its data in other files"):
        HDF5(tmp_path / "x.h5")


def test_strings_that_are_no_utf8_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", name=np.array([b"fine", b"\xff\xfe"]))
    dataset = HDF5(path)
    assert dataset[0] == "fine"
    with pytest.raises(stoker.DataError, match=r"cannot read column 'name' of .*x\.h5: "):
        dataset[1]


def test_a_file_that_was_replaced_is_told(tmp_path: Path) -> None:
    dataset = HDF5(write(tmp_path / "x.h5", a=np.zeros(3)))
    (tmp_path / "x.h5").unlink()
    write(tmp_path / "x.h5", b=np.zeros(3))
    with pytest.raises(stoker.DataError, match="no longer has the datasets that it had when it was opened"):
        dataset[0]


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require.cache_clear()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(stoker.MissingPackageError, match=r"h5py is not installed.*pip install 'stoker\[hdf5\]'"):
        HDF5(tmp_path / "x.h5")
    with pytest.raises(ImportError):
        require("h5py", extra="hdf5")
    monkeypatch.undo()
    assert require("h5py", extra="hdf5") is h5py
