"""Folders of .npy and .pt files as datasets."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import stoker
from stoker.data import ArrayFiles
from stoker.data.npy import parse_npy
from tests.data.source_checks import check_loaders, check_source
from tests.leaks import Holdings

CLASSES = ["b/2", "b/1", "a/deep/3", "a/0", "b/10"]


class Harm:
    """Code that a pickle runs."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("harm-was-done",)


@pytest.fixture(autouse=True)
def _nothing_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "harm-was-done").exists()


def save(root: Path, name: str, value: Any) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, value) if path.suffix == ".npy" else torch.save(value, path)
    return path


@pytest.mark.parametrize("ending", [".npy", ".pt"])
def test_a_file_is_a_sample_and_its_folder_the_class(tmp_path: Path, ending: str, no_leaks: Holdings) -> None:
    for number, name in enumerate(CLASSES):
        array = np.full((2, 3), number, np.float32)
        save(tmp_path, name + ending, array if ending == ".npy" else torch.from_numpy(array))
    (tmp_path / "b/notes.txt").write_text("no array")
    dataset = stoker.open(tmp_path)
    assert isinstance(dataset, ArrayFiles)
    assert (dataset.columns, dataset.classes, list(dataset.targets)) == (
        ("array", "label"),
        ["a", "b"],
        [0, 0, 1, 1, 1],
    )
    assert [int(dataset[index][0][0, 0]) for index in range(5)] == [3, 2, 1, 4, 0]  # as ImageFolder orders them
    assert dataset.sample_name(1) == f"a/deep/3{ending}"
    assert dataset.sample_path(1) == str(tmp_path / f"a/deep/3{ending}")
    array, label = dataset[0]
    assert (array.dtype, tuple(array.shape), label) == (torch.float32, (2, 3), 0)
    check_source(dataset)
    check_loaders(dataset)
    assert ArrayFiles(tmp_path, label=None).columns == ("array",)


def test_a_flat_folder_has_arrays_alone(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path, f"{number}.npy", np.arange(number))
    dataset = ArrayFiles(tmp_path)
    assert (dataset.columns, dataset.classes) == (("array",), [])
    assert [dataset[index].tolist() for index in range(3)] == [[], [0], [0, 1]]
    check_source(dataset)


def test_arrays_as_numpy_writes_them(tmp_path: Path) -> None:
    by_columns = np.asfortranarray(np.arange(6).reshape(2, 3))
    for number, array in enumerate(
        [by_columns, np.float64(3.5), np.arange(3, dtype=">i4"), np.zeros((0, 4)), np.array([True])]
    ):
        save(tmp_path, f"{number}.npy", array)
        loaded = ArrayFiles(tmp_path)[number]
        assert torch.equal(
            loaded, torch.from_numpy(np.asarray(array).astype(np.asarray(array).dtype.newbyteorder("=")))
        )


def test_dicts_and_tuples_become_columns(tmp_path: Path) -> None:
    for number in range(3):
        value = {"x": torch.full((2,), number), "name": f"n{number}", "weight": number / 2}
        save(tmp_path / "dicts", f"{number}.pt", dict(reversed(value.items())) if number == 2 else value)
        save(tmp_path / "tuples", f"c/{number}.pt", (torch.tensor(number), number))
    dicts, tuples = ArrayFiles(tmp_path / "dicts"), ArrayFiles(tmp_path / "tuples")
    assert dicts.columns == ("x", "name", "weight")
    assert [dicts[2][0].tolist(), *dicts[2][1:]] == [[2, 2], "n2", 1.0]
    assert tuples.columns == ("0", "1", "label")
    check_source(dicts)
    check_source(tuples)
    check_loaders(tuples)


def test_parameters_lose_their_gradients(tmp_path: Path) -> None:
    save(tmp_path, "0.pt", torch.nn.Parameter(torch.ones(3)))
    assert not ArrayFiles(tmp_path)[0].requires_grad


# What cannot be read


def test_code_in_a_pt_is_never_run(tmp_path: Path) -> None:
    save(tmp_path, "0.pt", torch.zeros(1))
    for number, value in enumerate([Harm(), {"x": Harm()}], 1):
        save(tmp_path, f"{number}.pt", value)
        with pytest.raises(
            stoker.DataError,
            match=rf"cannot read .*{number}\.pt: it is damaged, or holds more than tensors, numbers and str",
        ) as caught:
            ArrayFiles(tmp_path)[number]
        assert "weights_only=False" not in str(caught.value)


def test_pickled_arrays_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.array([Harm()], object), allow_pickle=True)
    with pytest.raises(stoker.DataError, match=r"0\.npy: it holds pickled Python objects, which are never unpickled"):
        ArrayFiles(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("x.npy", b"", "cannot read .*x.npy: EOF|cannot read .*x.npy: .*magic"),
        ("x.npy", b"PK\x03\x04 an archive", "the magic string is not correct"),
        ("x.npy", b"\x93NUMPY\x03\x00\x10\x00\x00\x00", "its format has version 3.0; 1.0 and 2.0 can be read"),
        ("x.pt", b"", "it is damaged, or holds more than"),
        ("x.pt", b"\x80\x02garbage", "it is damaged, or holds more than"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(stoker.DataError, match=text):
        ArrayFiles(tmp_path)


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_a_header_that_promises_too_much_allocates_nothing() -> None:
    data = npy(np.zeros((3, 7))).replace(b"(3, 7)", b"(3, 7000000000000)")
    with pytest.raises(
        stoker.DataError, match="its header promises 21,000,000,000,000 elements of float64, and the file is too"
    ):
        parse_npy(data, "x.npy")


@given(st.binary(max_size=12), st.integers(0, 200), st.integers(0, 200))
def test_damage_to_a_npy_is_a_data_error_or_an_array(junk: bytes, place: int, length: int) -> None:
    data = npy(np.arange(9, dtype=np.int32).reshape(3, 3))
    damaged = data[:place] + junk + data[place + len(junk) :][:length]
    try:
        array = parse_npy(damaged, "x.npy")
    except stoker.DataError as error:
        assert "cannot read x.npy: " in str(error)  # noqa: PT017 (either outcome is right)
    else:
        assert array.nbytes <= len(damaged)


def test_files_that_differ_from_the_first_are_named(tmp_path: Path) -> None:
    save(tmp_path, "0.pt", {"x": torch.zeros(1), "y": 1})
    save(tmp_path, "1.pt", {"x": torch.zeros(1), "z": 1})
    dataset = ArrayFiles(tmp_path)
    with pytest.raises(
        stoker.DataError, match=r"1\.pt holds x, z, and the first file of this folder, .*0\.pt, x, y; all"
    ):
        dataset[1]


def test_values_that_no_column_holds(tmp_path: Path) -> None:
    save(tmp_path, "0.pt", {"boxes": [1, 2]})
    with pytest.raises(
        stoker.DataError, match=r"0\.pt holds a list in 'boxes'; a value must be a tensor, a number or str"
    ):
        ArrayFiles(tmp_path)
    (tmp_path / "0.pt").unlink()
    save(tmp_path, "0.npy", np.array(["text"]))
    with pytest.raises(stoker.DataError, match=r"0\.npy holds <U4, a dtype that torch does not have"):
        ArrayFiles(tmp_path)


def test_a_label_in_the_files_and_one_from_the_folders(tmp_path: Path) -> None:
    save(tmp_path, "a/0.pt", {"x": torch.zeros(1), "label": 7})
    with pytest.raises(stoker.ArgumentError, match=r"hold a column 'label' themselves.*label='class', or None"):
        ArrayFiles(tmp_path)
    assert ArrayFiles(tmp_path, label="class").columns == ("x", "label", "class")
    assert ArrayFiles(tmp_path, label=None)[0] == (torch.zeros(1), 7)


def test_an_empty_folder_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "x.txt").touch()
    with pytest.raises(
        stoker.EmptyFolderError,
        match=r"no array files in .*: looked for \.npy, \.pt, in it and below, and found 1 × \.txt\.",
    ):
        ArrayFiles(tmp_path)
    with pytest.raises(
        stoker.EmptyFolderError, match=r"x\.txt is not a folder; give the folder that holds the array files"
    ):
        ArrayFiles(tmp_path / "x.txt")
