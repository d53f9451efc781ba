"""Whatever goes into a store comes out of it: types, dtypes, shapes, values, bit for bit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import stoker
from stoker.data.packed import Packed
from stoker.errors import DataError, StoreError
from stoker.packing.infer import column_of, widened
from stoker.store.schema import DTYPES, Column
from tests.store.every_kind import Made, assert_same, given_back, golden, numbers, pictured, structured, varying

TORCH_DTYPES = [getattr(torch, name) for name in DTYPES]


def packed(samples: list[Any], folder: Path, **options: Any) -> Packed:
    stoker.pack(Made(samples.__getitem__, len(samples)), folder / "store", num_workers=0, **options)
    return Packed(folder / "store", check=True)


@pytest.mark.parametrize("make", [numbers, varying, structured, pictured, golden])
def test_every_kind_of_value_comes_back_as_it_was(make: Callable[[int], Any], tmp_path: Path) -> None:
    store = packed([make(index) for index in range(9)], tmp_path)
    assert len(store) == 9
    for index in range(9):
        assert_same(store[index], given_back(make(index)))


@pytest.mark.parametrize("dtype", TORCH_DTYPES, ids=str)
def test_tensors_of_every_dtype_come_back_without_dimensions_with_some_and_ragged(dtype: Any, tmp_path: Path) -> None:
    samples = [
        (
            torch.tensor(number, dtype=dtype),
            torch.full((2, 2), number, dtype=dtype),
            torch.full((number,), 1, dtype=dtype),
        )
        for number in range(3)
    ]
    store = packed(samples, tmp_path)
    for index, sample in enumerate(samples):
        assert_same(store[index], sample)


@pytest.mark.parametrize("dtype", [name for name in DTYPES if name != "bfloat16"])
def test_arrays_of_every_dtype_come_back_alone_with_dimensions_and_ragged(dtype: str, tmp_path: Path) -> None:
    samples = [
        (np.dtype(dtype).type(number), np.full((2, 1, 2), number, dtype), np.full((number, 2), 1, dtype))
        for number in range(3)
    ]
    store = packed(samples, tmp_path)
    for index, sample in enumerate(samples):
        assert_same(store[index], sample)


@pytest.mark.parametrize("value", [5, 2.5, True, "text", b"bytes", None, [1, 2], np.arange(3), torch.ones(2), {}])
def test_a_sample_may_be_one_value(value: Any, tmp_path: Path) -> None:
    # A list at a sample's top is its structure: a tuple whose brackets are square.
    assert_same(packed([value] * 3, tmp_path)[1], value)


def test_numbers_that_are_no_numbers_keep_their_bits(tmp_path: Path) -> None:
    samples = [(float("nan"), float("-inf"), -0.0, np.float32("nan"), 1 << 62, -(1 << 63))]
    assert_same(packed(samples, tmp_path)[0], samples[0])


def test_rows_that_are_all_empty_come_back_empty(tmp_path: Path) -> None:
    samples = [(b"", "", np.zeros(0, np.int16), torch.zeros(0, 3), np.zeros((2, 0, 2)))] * 4
    assert_same(packed(samples, tmp_path)[3], samples[0])


def test_views_that_are_not_contiguous_are_stored_as_they_are_seen(tmp_path: Path) -> None:
    grid = np.arange(12).reshape(3, 4)
    sample = (grid.T, grid[::-1, ::2], torch.from_numpy(grid).T[::2], torch.ones(2, requires_grad=True))
    given = packed([sample], tmp_path)[0]
    for found, expected in zip(given, sample, strict=True):
        np.testing.assert_array_equal(
            np.asarray(found), np.asarray(expected.detach() if isinstance(expected, torch.Tensor) else expected)
        )


def test_whole_numbers_and_texts_in_one_column_are_json(tmp_path: Path) -> None:
    samples: list[Any] = [1, "one", None, 1 << 80, [1, 2], {}]
    store = packed([(value, 0) for value in samples], tmp_path)
    assert store.stored_columns[0].kind == "json"
    assert [store[index][0] for index in range(len(samples))] == samples


_scalars = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1), st.floats(), st.booleans(), st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(), st.none(),
)  # fmt: skip
_arrays = st.sampled_from([name for name in DTYPES if name != "bfloat16"]).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3))
)
_values = st.one_of(_scalars, _arrays, _arrays.map(torch.from_numpy))
_keys = st.text("abcde", min_size=1, max_size=3)
_samples = st.recursive(
    _values,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(tuple), st.dictionaries(_keys, inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(_samples)
def test_any_sample_comes_back(sample: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_same(packed([sample, sample], Path(folder))[1], sample)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_ragged_rows_come_back(data: st.DataObject) -> None:
    dims = data.draw(st.integers(1, 3))
    shapes = arrays.array_shapes(min_dims=dims, max_dims=dims, min_side=0, max_side=3)
    dtype = data.draw(st.sampled_from(["bool", "int8", "float64"]))
    rows = data.draw(st.lists(arrays.arrays(dtype, shapes), min_size=1, max_size=50))
    with tempfile.TemporaryDirectory() as folder:
        store = packed([(row, "") for row in rows], Path(folder))
        for index, row in enumerate(rows):
            assert_same(store[index][0], row)


def test_a_column_that_becomes_ragged_late_begins_anew(tmp_path: Path) -> None:
    # 32 samples are looked at first, spread evenly; these two stand between them.
    samples = [(np.zeros(2), 1) for _ in range(1000)]
    samples[40] = (np.zeros(3), 1)
    samples[50] = (np.zeros(2), "two")
    for workers in (0, 2):
        stoker.pack(Made(samples.__getitem__, 1000), tmp_path / str(workers), num_workers=workers, shard_bytes=10_000)
        store = Packed(tmp_path / str(workers), check=True)
        assert [column.kind for column in store.stored_columns] == ["ragged", "json"]
        assert_same([store[index] for index in (39, 40, 50, 999)], [samples[index] for index in (39, 40, 50, 999)])
        assert not (tmp_path / f"{workers}.partial").exists()


# What a store cannot hold


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({1, 2}, "builtins.set"),
        (object(), "builtins.object"),
        ((), "builtins.tuple"),
        (1j, "builtins.complex"),
        ([{1: 2}], "builtins.list"),
    ],
)
def test_a_value_without_a_column_is_refused_by_name(value: Any, what: str, tmp_path: Path) -> None:
    text = (
        rf"cannot pack sample 0: StoreError: column 'x' holds {what}, which a store cannot keep: give it numbers, "
        r"arrays, tensors, text, bytes, images, or what JSON holds \(a transform can convert it\)\."
    )
    with pytest.raises(DataError, match=text):
        packed([{"x": value}], tmp_path)


@pytest.mark.parametrize(
    "value", [np.zeros(2, complex), np.array(["a"]), np.array(["2020"], "M8[D]"), torch.zeros(1, dtype=torch.cfloat)]
)
def test_an_array_without_a_column_is_refused_with_those_that_have_one(value: Any, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"column '0' holds an array of dtype .*, which a store cannot keep; it keeps bool, uint8"
    ):
        packed([(value, 1)], tmp_path)


def test_two_values_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"two values of a sample would both be the column 'a\.b'; rename a key\."):
        packed([{"a": {"b": 1}, "a.b": 2}], tmp_path)


def test_a_name_that_shapes_are_stored_under_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"names a column twice: x, x\.shape, x\.shape\."):
        packed([{"x": np.zeros((0, 2)), "x.shape": 2}], tmp_path)


def test_a_sample_of_another_structure_is_refused(tmp_path: Path) -> None:
    samples: list[Any] = [{"a": 1}, {"b": 1}]
    text = r'cannot pack sample 1: DataError: it is made of \{"dict": \{"b": .*\}\}, and those that were looked at first of \{"dict": \{"a"'
    with pytest.raises(DataError, match=text):
        packed(samples, tmp_path)


def test_what_differs_too_much_is_refused_with_both(tmp_path: Path) -> None:
    text = (
        "cannot pack sample 1: StoreError: column 'x' holds float64 tensor of 1 dimensions in some samples and float64 tensor "
        "of 2 dimensions in others."
    )
    with pytest.raises(DataError, match=text):
        packed([{"x": np.zeros(2)}, {"x": np.zeros((2, 2))}], tmp_path)


def test_what_differs_too_much_is_left_out_where_errors_are_skipped(tmp_path: Path) -> None:
    store = packed(
        [{"x": np.zeros(2)}, {"x": np.zeros((2, 2))}, {"y": 1}, {"x": np.ones(2)}], tmp_path, on_error="skip"
    )
    assert len(store) == 2
    assert [entry["index"] for entry in store.reader.manifest.quarantine] == [1, 2]


# Inference


def test_a_column_is_widened_alike_in_either_order() -> None:
    columns = [column_of("x", value, raw_images=False) for value in (1, 1.5, True, "a", [1], [1.5], None)]
    for one in columns:
        for other in columns:
            assert widened(one, other) == widened(other, one) == (one if one == other else Column("x", "json"))


def test_one_structure_of_arrays_is_ragged_where_their_sides_differ() -> None:
    known, found = (column_of("x", np.zeros(shape), raw_images=False) for shape in [(2, 3), (0, 3)])
    assert widened(known, found) == Column("x", "ragged", "float64", num_dims=2, holder="array")
