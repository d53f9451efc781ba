"""Files of token ids as datasets."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import stoker
from stoker.data import Tokens
from tests.data.source_checks import check_loaders, check_source
from tests.leaks import Holdings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.arange(60_000, 60_100, dtype=np.uint16).tofile(tmp_path / "tokens.bin")
    return tmp_path / "tokens.bin"


def test_a_sample_is_a_window_and_the_window_one_token_later(path: Path) -> None:
    dataset = stoker.open(path, window=8)
    assert (dataset.columns, len(dataset)) == (("x", "y"), 12)  # the 99 that have a next token, in windows of 8
    x, y = dataset[11]
    assert (x.tolist(), y.tolist()) == (list(range(60_088, 60_096)), list(range(60_089, 60_097)))
    assert x.dtype == y.dtype == torch.int64
    assert [part.dtype for part in dataset.read(0)] == [np.uint16, np.uint16]
    assert dataset.sample_path(3) == str(path)


@given(st.integers(1, 80), st.integers(1, 12), st.one_of(st.none(), st.integers(1, 15)), st.booleans(), st.booleans())
def test_windows_are_what_slicing_gives(
    tmp_path_factory: pytest.TempPathFactory, length: int, window: int, stride: int | None, shifted: bool, npy: bool
) -> None:
    path = tmp_path_factory.mktemp("tokens") / ("t.npy" if npy else "t.bin")
    tokens = np.arange(length, dtype=np.uint32)
    np.save(path, tokens) if npy else tokens.tofile(path)
    starts = range(0, length - window - shifted + 1, stride or window)
    dtype = None if npy else np.uint32
    if not starts:
        with pytest.raises(
            stoker.DataError, match=f"holds {length} tokens of uint32, and a window takes {window + shifted}"
        ):
            Tokens(path, window, stride, dtype, shifted)
        return
    dataset = Tokens(path, window, stride, dtype, shifted)
    expected = [[tokens[start + shift :][:window].tolist() for shift in range(1 + shifted)] for start in starts]
    samples = [dataset[index] for index in range(len(dataset))]
    assert [[part.tolist() for part in (sample if shifted else [sample])] for sample in samples] == expected
    batch = dataset.get_batch(np.arange(len(dataset))[::-1].copy())
    assert (batch[0] if shifted else batch).tolist() == [sample[0] for sample in expected][::-1]


@pytest.mark.parametrize("arguments", [{}, {"shifted": False}, {"stride": 3}, {"window": 1}])
def test_it_is_read_alike_in_every_way(path: Path, arguments: dict[str, int], no_leaks: Holdings) -> None:
    dataset = Tokens(path, **{"window": 8, **arguments})  # type: ignore[arg-type]
    check_source(dataset)
    check_loaders(dataset)


def test_it_travels_without_its_tokens(path: Path) -> None:
    assert len(pickle.dumps(Tokens(path, 8))) < 1000
    assert Tokens(path, 8).fingerprint() != Tokens(path, 9).fingerprint()


def test_dtypes(tmp_path: Path, path: Path) -> None:
    np.arange(50, dtype=">i4").tofile(tmp_path / "big.bin")
    assert Tokens(tmp_path / "big.bin", 4, dtype=">i4")[1][0].tolist() == [4, 5, 6, 7]
    assert Tokens(tmp_path / "big.bin", 4, dtype=">i4").get_batch(np.array([1]))[1].tolist() == [[5, 6, 7, 8]]
    np.save(tmp_path / "own.npy", np.arange(50, dtype=np.int8))
    assert stoker.open(tmp_path / "own.npy", window=4)[0][0].dtype == torch.int64
    assert stoker.open(tmp_path / "own.npy")[0].dtype == torch.int8  # without a window it is an array
    with pytest.raises(stoker.ArgumentError, match=r"dtype is for files of plain numbers, and .*own\.npy says its own"):
        Tokens(tmp_path / "own.npy", 4, dtype=np.int8)
    with pytest.raises(
        stoker.ArgumentError, match="dtype must be one of integers, such as uint16 or uint32; got float32"
    ):
        Tokens(path, 4, dtype=np.float32)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("odd.bin", b"\0" * 21, r"odd\.bin has 21 bytes, no multiple of the 2 of uint16; give the dtype"),
        ("empty.bin", b"", r"empty\.bin holds 0 tokens of uint16, and a window takes 5 \(the last one is predicted\)"),
        ("short.bin", b"\0" * 8, "holds 4 tokens of uint16, and a window takes 5"),
        ("junk.npy", b"junk", r"cannot read .*junk\.npy"),
    ],
)
def test_files_that_hold_no_windows(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(stoker.DataError, match=text):
        Tokens(tmp_path / name, 4)


def test_arrays_that_are_no_tokens(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 4)))
    with pytest.raises(stoker.DataError, match=r"must hold whole numbers in one dimension; it holds float64 \[3, 4\]"):
        Tokens(tmp_path / "x.npy", 2)


@pytest.mark.parametrize("arguments", [{"window": 0}, {"window": 3, "stride": 0}])
def test_windows_and_strides_of_nothing(path: Path, arguments: dict[str, int]) -> None:
    with pytest.raises(stoker.ArgumentError, match="window and stride must be at least 1; got "):
        Tokens(path, **arguments)  # type: ignore[arg-type]


def test_a_file_that_became_shorter_is_told_before_it_is_mapped(path: Path) -> None:
    dataset = Tokens(path, 8)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(stoker.DataError, match=r"held 100 tokens when it was opened, and holds 25 now"):
        dataset[0]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int32", "int16", "int64", ">u2"])
@pytest.mark.parametrize("shifted", [True, False])
def test_a_batch_is_its_samples_whatever_the_file_s_dtype(dtype: str, shifted: bool, tmp_path: Path) -> None:
    highest = min(np.iinfo(dtype).max, 2**40)
    tokens = np.linspace(np.iinfo(dtype).min // 2**20, highest, 77).astype(dtype)
    tokens.tofile(tmp_path / "a.bin")
    dataset = Tokens(tmp_path / "a.bin", 5, stride=3, dtype=dtype, shifted=shifted)
    indices = np.array([0, len(dataset) - 1, 7, 7])
    batch = dataset.get_batch(indices)
    for column, part in enumerate(batch if shifted else [batch]):
        starts = indices[:, None] * 3 + np.arange(5) + column
        assert part.tolist() == tokens.astype(np.int64)[starts].tolist()
