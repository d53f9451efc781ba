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
from stoker.data.hdf5_chunks import _Bands, gathered_rows
from stoker.data.optional import require
from stoker.testing import batch_hash
from tests.data.source_checks import check_loaders, check_private, check_source
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


# How rows are reached


def layouts(path: Path) -> dict[str, Any]:
    """One array in every layout; `path` holds them by name."""
    array = np.random.default_rng(0).integers(0, 1000, (50, 3, 4)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file["contiguous"] = array
        file.create_dataset("rows", data=array, chunks=(8, 3, 4))
        file.create_dataset("pieces", data=array, chunks=(8, 2, 4))
        file.create_dataset("gzip", data=array, chunks=(7, 3, 4), compression="gzip", shuffle=True)
        file.create_dataset("grown", data=array[:20], chunks=(8, 3, 4), maxshape=(None, 3, 4)).resize(50, axis=0)
        file["swapped"] = array.astype(">f4")
        file.create_dataset("compact", data=array[:, 0, 0].astype(np.int8), dcpl=_compact())
        file.create_dataset("narrow", data=array.astype(np.int32), dtype=_twelve_bits())
    expected = dict.fromkeys(("contiguous", "rows", "pieces", "gzip", "swapped"), array)
    grown = np.concatenate([array[:20], np.zeros((30, 3, 4), np.float32)])
    return {**expected, "grown": grown, "compact": array[:, 0, 0].astype(np.int8), "narrow": array.astype(np.int32)}


def _compact() -> Any:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    return plist


def _twelve_bits() -> Any:
    """Integers whose bits lie elsewhere in their bytes than NumPy's."""
    kind = h5py.h5t.STD_I32LE.copy()
    kind.set_precision(12)
    kind.set_offset(4)
    return h5py.Datatype(kind)


@pytest.mark.parametrize("cache_bytes", [0, 1000, 1 << 20])
def test_every_layout_gives_its_rows(tmp_path: Path, cache_bytes: int, no_leaks: Holdings) -> None:
    generator = np.random.default_rng(1)
    for name, array in layouts(tmp_path / "x.h5").items():
        dataset = HDF5(tmp_path / "x.h5", [name], cache_bytes=cache_bytes)
        assert dataset.get_batch is not None
        for _ in range(3):
            indices = generator.integers(0, 50, 20)
            np.testing.assert_array_equal(dataset.get_batch(indices).numpy(), array[indices], err_msg=name)
        np.testing.assert_array_equal(dataset[7].numpy(), array[7], err_msg=name)
        check_private(dataset)
        for bad in (50, -1):
            with pytest.raises(IndexError, match=f"index {bad} is out of range for 50 samples"):
                dataset.get_batch(np.array([0, bad]))


def test_only_what_lies_in_the_file_as_it_is_gets_mapped(tmp_path: Path) -> None:
    layouts(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "r") as file:
        kinds = {name: type(gathered_rows(file[name], 1 << 20)).__name__ for name in file}
        assert gathered_rows(file["gzip"], 2 * 7 * 48 - 1) is None  # two chunks do not fit
    bands, mapped = "_Bands", "PieceRows"
    assert kinds == {
        "contiguous": mapped, "rows": mapped, "swapped": mapped, "pieces": bands, "gzip": bands, "grown": bands,
        "compact": "NoneType", "narrow": "NoneType",
    }  # fmt: skip


def test_a_chunk_is_decompressed_once_for_all_batches_that_fit_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", data=np.arange(400).reshape(100, 4), chunks=(10, 4), compression="gzip")
    read: list[int] = []
    original = _Bands._read
    monkeypatch.setattr(_Bands, "_read", lambda self, band: (read.append(band), original(self, band))[1])
    dataset = HDF5(tmp_path / "x.h5", cache_bytes=5 * 320)
    assert dataset.chunk_rows == 10
    assert dataset.get_batch is not None
    blocks = np.random.default_rng(0).permutation(50)  # a block shuffle over five chunks
    for start in range(0, 50, 7):
        assert (
            dataset.get_batch(blocks[start : start + 7])[:, 0] == torch.from_numpy(blocks[start : start + 7] * 4)
        ).all()
    assert sorted(read) == [0, 1, 2, 3, 4]


def test_a_mapped_file_that_was_replaced_is_still_the_one_that_was_opened(tmp_path: Path) -> None:
    dataset = HDF5(write(tmp_path / "x.h5", a=np.arange(5)))
    dataset._readers.get()
    (tmp_path / "x.h5").unlink()
    write(tmp_path / "x.h5", a=np.arange(5) + 100)
    assert dataset[2].item() == 2


def test_compressed_files_are_read_by_workers(tmp_path: Path, numbers: Path) -> None:
    def executor(dataset: Any) -> Any:
        return Loader(dataset, batch_size=4, num_workers=2).stats()["executor"]

    plain, zipped = HDF5(numbers, ["label"]), HDF5(numbers, ["label", "zipped"])
    assert (plain.chunk_rows, zipped.chunk_rows) == (None, 3)
    assert executor(plain) == "inline"
    for dataset in (zipped, zipped.select([1, 2]), torch.utils.data.Subset(zipped, [1, 2]), zipped.map(batch=list)):
        assert executor(dataset) == "process"
    check_loaders(zipped)


# Handles that a dataset of the user's keeps


class HandWritten(torch.utils.data.Dataset[Any]):
    """As people write it: the file is opened in __init__, and a dataset of it kept."""

    def __init__(self, path: Path, mode: str = "r") -> None:
        self.file = h5py.File(path, mode)
        self.group = self.file["group"]
        self.labels = self.file["label"]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        return torch.from_numpy(self.group["deep/ints"][index]), self.labels[index], self.file["half"][index]


@pytest.mark.parametrize("context", [None, "fork"])
def test_open_handles_travel_by_path(numbers: Path, context: str | None, no_leaks: Holdings) -> None:
    dataset = HandWritten(numbers)
    plain: dict[str, Any] = {"batch_size": 3, "shuffle": True, "seed": 1}
    inline = [batch_hash(batch) for batch in Loader(dataset, **plain)]
    loader = Loader(dataset, **plain, num_workers=2, multiprocessing_context=context)
    assert [batch_hash(batch) for batch in loader] == inline
    assert dataset.file
    dataset.file.close()


def test_a_file_is_opened_once_in_a_worker_with_the_same_cache(numbers: Path) -> None:
    class Tell(torch.utils.data.Dataset[Any]):
        def __init__(self) -> None:
            self.file = h5py.File(numbers, "r", rdcc_nbytes=12345, rdcc_nslots=101)
            self.same = self.file

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Any:
            settings = self.file.id.get_access_plist().get_cache()
            return settings[1], settings[2], self.same is self.file

    loader = Loader(Tell(), batch_size=1, num_workers=2)
    told = [tuple(part[0].item() for part in batch) for batch in loader]
    assert told == [(101, 12345, True)] * 2


def test_handles_that_cannot_be_opened_again_are_named(numbers: Path) -> None:
    dataset = HandWritten(numbers, "r+")
    loader = Loader(dataset, batch_size=5, num_workers=1)
    rule = (
        r"dataset\.file cannot be sent to worker processes: .*open in mode 'r\+'.*opened with h5py\.File\(path, 'r'\)"
    )
    with pytest.raises(stoker.TravelError, match=rule):
        list(loader)
    dataset.file.close()
    dataset = HandWritten(numbers)
    dataset.spare = h5py.File(numbers, "r")  # type: ignore[attr-defined]
    dataset.spare.close()  # type: ignore[attr-defined]
    with pytest.raises(stoker.TravelError, match=r"dataset\.spare cannot be sent .*the HDF5 file is closed"):
        list(Loader(dataset, batch_size=5, num_workers=1))
    dataset.file.close()


def test_a_file_that_is_gone_when_workers_open_it_is_an_error_not_a_crash(numbers: Path) -> None:
    dataset = HandWritten(numbers)
    numbers.unlink()
    with pytest.raises(FileNotFoundError, match=r"numbers\.h5"):
        list(Loader(dataset, batch_size=5, num_workers=1))
