"""`stoker.open`: which reader a path gets, and what it says where there is none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import stoker
from stoker.data import HDF5, ArrayFiles, Arrays, ImageFolder, Table, Tars, Tokens
from stoker.data.handles import Handle, OpenFile
from stoker.data.open import READERS
from stoker.data.optional import require
from tests.data.test_tars import write_tar
from tests.image.pictures import encoded, smooth


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """One file of each kind, and a folder for each."""
    np.save(tmp_path / "x.npy", np.arange(100))
    np.savez(tmp_path / "x.npz", a=np.arange(3))
    np.arange(100, dtype=np.uint16).tofile(tmp_path / "x.bin")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    write_tar(tmp_path / "x.tar", {"a.cls": b"1"})
    for name in ("x.h5", "x.hdf5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["a"] = np.arange(3)
    torch.save(torch.zeros(2), tmp_path / "x.pt")
    (tmp_path / "x.png").write_bytes(encoded(smooth(4, 4), "PNG"))
    for name in ("x.npy", "x.pt", "x.csv", "x.parquet", "x.tar", "x.png"):
        folder = tmp_path / f"folder of {name}" / "class"
        folder.mkdir(parents=True)
        (folder / name).symlink_to(tmp_path / name)
    (tmp_path / "folder of x.tar/y.tar").symlink_to(tmp_path / "x.tar")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("x.npy", Arrays, {}),
        ("x.npz", Arrays, {}),
        ("x.npy", Tokens, {"window": 4}),
        ("x.bin", Tokens, {"window": 4, "dtype": np.uint16}),
        ("x.csv", Table, {}),
        ("x.parquet", Table, {"columns": ["a"]}),
        ("x.tar", Tars, {"columns": ["cls"]}),
        ("x.h5", HDF5, {}),
        ("x.hdf5", HDF5, {"columns": ["a"]}),
        ("folder of x.npy", ArrayFiles, {"label": None}),
        ("folder of x.pt", ArrayFiles, {}),
        ("folder of x.csv", Table, {}),
        ("folder of x.parquet", Table, {}),
        ("folder of x.tar", Tars, {}),
        ("folder of x.png", ImageFolder, {}),
        ("*.parquet", Table, {}),
    ],
)
def test_each_kind_has_its_reader(files: Path, name: str, kind: type, options: dict[str, Any]) -> None:
    dataset = stoker.open(files / name, **options)
    assert type(dataset) is kind
    assert dataset[0] is not None


def test_images_come_before_what_lies_beside_them(files: Path) -> None:
    assert type(stoker.open(files)) is ImageFolder
    (files / "folder of x.npy/class/list.csv").touch()
    assert type(stoker.open(files / "folder of x.npy")) is ArrayFiles


def test_what_nobody_reads(files: Path) -> None:
    (files / "x.xls").touch()
    (files / "other").mkdir()
    (files / "other/y.doc").touch()
    readers = "; ".join(reader.what for reader in READERS)
    with pytest.raises(stoker.DataError) as caught:
        stoker.open(files / "x.xls")
    assert str(caught.value) == f"no reader for {files / 'x.xls'}. What can be read: {readers}."
    with pytest.raises(stoker.EmptyFolderError) as caught:
        stoker.open(files / "other")
    assert str(caught.value) == (
        f"no reader for {files / 'other'}, a folder that holds 1 × .doc. What can be read: {readers}."
    )
    with pytest.raises(
        stoker.DataError, match=r"no reader for these 2 files together, .*x\.csv …\. What can be read: "
    ):
        stoker.open([files / "x.csv", files / "x.tar"])


def test_what_is_not_there(tmp_path: Path) -> None:
    for missing in ("/no/such/place", "/no/such/*.tar", ["/no/such/a.tar"]):
        with pytest.raises(FileNotFoundError, match="there is nothing at /no/such/"):
            stoker.open(missing)
    with pytest.raises(stoker.ArgumentError, match="open needs at least one path; got an empty list"):
        stoker.open([])


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("x.npy", {"columns": 1}, r"is a \.npy or \.npz file, whose reader takes no options; got columns\."),
        ("x.csv", {"size": 1}, r"\.csv or \.tsv files, whose reader takes columns, cache_bytes; got size\."),
        ("x.bin", {}, r"\.bin file of token ids, whose reader takes window, stride, dtype, shifted and needs window: "),
        ("folder of x.png", {"window": 1}, "is a folder of images, whose reader takes no options; got window"),
    ],
)
def test_options_that_a_reader_does_not_take(files: Path, name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(stoker.ArgumentError, match=text):
        stoker.open(files / name, **options)


# Packages and open files


def test_a_package_that_is_there_and_broken_says_so_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package.py").write_text("import another_one_that_is_missing")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="another_one_that_is_missing") as caught:
        require("broken_package", extra="x")
    assert not isinstance(caught.value, stoker.MissingPackageError)
    with pytest.raises(
        stoker.MissingPackageError, match=r"no_such_package is not installed.*pip install 'no_such_package'"
    ):
        require("no_such_package.part")


def test_a_handle_opens_when_it_is_used_and_once() -> None:
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    handle = Handle(make)
    assert made == []
    assert handle.get() is handle.get() is made[0]
    handle.close()
    assert handle.get() is made[1]
    assert len(made) == 2


def test_a_forked_process_opens_anew() -> None:
    handle = Handle(os.getpid)
    assert handle.get() == os.getpid()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        os.write(writing, str(handle.get()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert answer.read() == str(child)


def test_a_file_is_read_at_offsets_and_closes_itself(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(range(200)))
    file = OpenFile(str(tmp_path / "x"))
    assert file.read(10, 5) == bytes(range(10, 15))
    assert file.read(195, 100) == bytes(range(195, 200))
    assert file.read(500, 100) == b""
    with pytest.raises(FileNotFoundError):
        OpenFile(str(tmp_path / "y"))
