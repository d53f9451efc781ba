"""Parquet, Arrow and CSV as datasets."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import stoker
from stoker import Loader
from stoker.data import Table
from stoker.data.arrow_columns import cells_of
from stoker.data.arrow_kinds import kind_of
from stoker.data.table_files import _VIEW_BYTES
from stoker.image import CenterCrop, Pipeline
from tests.data.source_checks import check_loaders, check_source
from tests.image.pictures import encoded, smooth
from tests.leaks import Holdings

ROWS = 11
PLAIN = {
    "number": np.arange(ROWS, dtype=np.int32),
    "score": np.arange(ROWS) / 4,
    "name": [f"ñ{i}" for i in range(ROWS)],
}


def table(**more: Any) -> pa.Table:
    return pa.table({**PLAIN, **more})


def fixed(values: Any, *sizes: int) -> pa.Array:
    array = pa.array(np.asarray(values).reshape(-1))
    for size in reversed(sizes):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


def write_parquet(path: Path, rows: pa.Table) -> None:
    pq.write_table(rows, path, row_group_size=4)


def write_file(path: Path, rows: pa.Table, compression: str | None = None) -> None:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema, options=options) as writer:
        writer.write_table(rows, max_chunksize=3)


def write_stream(path: Path, rows: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=3)


WRITERS: dict[str, Callable[[Path, pa.Table], None]] = {
    "rows.parquet": write_parquet,
    "file.arrow": write_file,
    "zipped.feather": lambda path, rows: write_file(path, rows, "zstd"),
    "stream.arrow": write_stream,
}


@pytest.fixture(params=[*WRITERS, "rows.csv"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made: Path = tmp_path / request.param
    if made.suffix == ".csv":
        pyarrow.csv.write_csv(table(), made)
    else:
        WRITERS[request.param](made, table())
    return made


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[pa.Table], Path]:
    """Writes a table in one of the formats."""

    def write_it(rows: pa.Table) -> Path:
        WRITERS[request.param](tmp_path / request.param, rows)
        return tmp_path / request.param  # type: ignore[no-any-return]

    return write_it


def test_the_schema_s_columns(path: Path) -> None:
    dataset = stoker.open(path)
    assert isinstance(dataset, Table)
    assert (len(dataset), dataset.columns) == (ROWS, ("number", "score", "name"))
    number, score, name = dataset[9]
    assert (number.item(), score.item(), name) == (9, 2.25, "ñ9")
    assert (number.dtype, score.dtype) == (torch.int64 if path.suffix == ".csv" else torch.int32, torch.float64)
    assert dataset.sample_path(3) == str(path)


def test_it_is_read_alike_in_every_way(path: Path, no_leaks: Holdings) -> None:
    check_source(Table(path))
    check_loaders(Table(path))
    check_source(Table(path, ["name"]))


def test_values_of_every_kind(write: Callable[[pa.Table], Path]) -> None:
    pictures = [encoded(smooth(4 + i, 5), "PNG") for i in range(ROWS)]
    columns: dict[str, pa.Array] = {
        "bool": pa.array([i % 2 == 0 for i in range(ROWS)]),
        "half": pa.array(np.arange(ROWS, dtype=np.float16)),
        "big": pa.array([2**63 + i for i in range(ROWS)], pa.uint64()),
        "vector": fixed(np.arange(ROWS * 3, dtype=np.float32), 3),
        "matrix": fixed(np.arange(ROWS * 6), 2, 3),
        "ragged": pa.array([list(range(i)) for i in range(ROWS)], pa.list_(pa.int16())),
        "wide": pa.array([[True] * i for i in range(ROWS)], pa.large_list(pa.bool_())),
        "data": pa.array([bytes([i]) * i for i in range(ROWS)], pa.large_binary()),
        "code": pa.array([bytes([i, i]) for i in range(ROWS)], pa.binary(2)),
        "word": pa.array([f"w{i % 3}" for i in range(ROWS)]).dictionary_encode(),
        "picture": pa.array([{"bytes": data, "path": None} for data in pictures], pa.struct({"bytes": pa.binary(), "path": pa.string()})),
    }  # fmt: skip
    path = write(pa.table(columns))
    dataset = Table(path)
    sample = dict(zip(dataset.columns, dataset[7], strict=True))
    assert sample["bool"].dtype == torch.bool
    assert (sample["half"].dtype, sample["half"].item()) == (torch.float16, 7)
    assert (sample["big"].dtype, sample["big"].item()) == (torch.uint64, 2**63 + 7)
    assert (sample["vector"].dtype, sample["vector"].tolist()) == (torch.float32, [21, 22, 23])
    assert sample["matrix"].tolist() == [[42, 43, 44], [45, 46, 47]]
    assert (sample["ragged"].dtype, sample["ragged"].tolist()) == (torch.int16, list(range(7)))
    assert (sample["wide"].dtype, len(sample["wide"])) == (torch.bool, 7)
    assert (sample["data"], sample["code"], sample["word"]) == (b"\7" * 7, b"\7\7", "w1")
    assert tuple(sample["picture"].shape) == (3, 11, 5)
    check_source(dataset)
    bulk = [name for name in columns if name not in ("ragged", "wide", "picture")]
    assert dataset.get_batch is None
    assert Table(path, bulk).get_batch is not None
    check_source(Table(path, bulk))
    check_loaders(Table(path, ["picture", "vector"]).map(picture=Pipeline(CenterCrop(4))))


def test_tensors_of_arrow_s_own(tmp_path: Path) -> None:
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(24.0).reshape(4, 2, 3))
    write_file(tmp_path / "x.arrow", pa.table({"x": tensors}))
    assert Table(tmp_path / "x.arrow")[3].tolist() == [[18, 19, 20], [21, 22, 23]]
    check_source(Table(tmp_path / "x.arrow"))


def test_several_files_are_one_table(tmp_path: Path) -> None:
    rows = table()
    for number, start in enumerate([0, 5, 5, 9]):
        write_parquet(tmp_path / f"part-{number}.parquet", rows.slice(start, 4 if start != 9 else 2))
    (tmp_path / "notes.txt").touch()
    folder = stoker.open(tmp_path)
    assert [folder[index][0].item() for index in range(len(folder))] == [0, 1, 2, 3, 5, 6, 7, 8, 5, 6, 7, 8, 9, 10]
    assert folder.sample_path(4) == str(tmp_path / "part-1.parquet")
    listed = stoker.open([tmp_path / "part-3.parquet", tmp_path / "part-0.parquet"])
    assert [listed[index][0].item() for index in range(len(listed))] == [9, 10, 0, 1, 2, 3]
    assert len(stoker.open(str(tmp_path / "part-[01].parquet"))) == 8
    check_source(folder)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=5), st.data())
def test_rows_are_found_in_blocks_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("table")
    numbers = np.arange(sum(sizes))
    batches = [pa.record_batch({"x": part}) for part in np.split(numbers, np.cumsum(sizes)[:-1])]
    with pa.OSFile(str(folder / "x.arrow"), "wb") as sink, pa.ipc.new_file(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    dataset = Table(folder / "x.arrow")
    assert [dataset[index].item() for index in range(len(dataset))] == numbers.tolist()
    if len(numbers):
        chosen = data.draw(st.lists(st.integers(0, len(numbers) - 1), min_size=1, max_size=20))
        assert dataset.get_batch is not None
        assert dataset.get_batch(np.array(chosen)).tolist() == chosen


def test_csv_travels_as_what_was_read_and_the_others_by_path(tmp_path: Path) -> None:
    pyarrow.csv.write_csv(table(), tmp_path / "x.csv")
    dataset = pickle.loads(pickle.dumps(Table(tmp_path / "x.csv")))
    (tmp_path / "x.csv").unlink()
    assert dataset[2][2] == "ñ2"
    pq.write_table(pa.table({"x": np.arange(100_000)}), tmp_path / "x.parquet")
    assert len(pickle.dumps(Table(tmp_path / "x.parquet"))) < 2000
    (tmp_path / "x.tsv").write_text("a\tb\n1\t2\n")
    assert [value.item() for value in stoker.open(tmp_path / "x.tsv")[0]] == [1, 2]


# What is kept in memory


def test_row_groups_are_decoded_once_while_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    read = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, group, *args, **more: (decoded.append(group), read(self, group, *args, **more))[1]
    )  # fmt: skip
    write_parquet(tmp_path / "x.parquet", pa.table({"x": np.arange(12)}))
    dataset = Table(tmp_path / "x.parquet", cache_bytes=80)
    for index in [0, 1, 3, 4, 5, 2, 7, 8, 0]:  # groups 0 0 0 1 1 0 1 2 0
        assert dataset[index].item() == index
    assert decoded == [0, 1, 2, 0]
    for _ in range(3):
        assert Table(tmp_path / "x.parquet", cache_bytes=0)[5].item() == 5


def test_mapped_blocks_take_no_memory(tmp_path: Path) -> None:
    rows = pa.table({"x": np.zeros(30)})
    for name, expected in (("file.arrow", _VIEW_BYTES), ("zipped.feather", _VIEW_BYTES + 3 * 8)):
        WRITERS[name](tmp_path / name, rows)
        dataset = Table(tmp_path / name)
        dataset[0]
        assert dataset._blocks.get().num_bytes == expected


# What cannot be read


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pa.array([1, 2, 3, 4, None]), "column 'x' is null; fill it, or leave such rows out when the data is written: in row 4 of "),
        (pa.array(["a", "b", "c", "d", None]), "column 'x' is null; .*: in row 4 of "),
        (pa.array([True] * 4 + [None]), "column 'x' is null; .*: in row 4 of "),
        (pa.array([[1], [], [2], [3], None]), "column 'x' is null; .*: in row 4 of "),
        (pa.array([[1], [], [2], [3], [1, None]]), "column 'x' has a null in its list; .*: in row 4 of "),
        (pa.array([[1.0], [1], [2], [3], [None]], pa.list_(pa.float32(), 1)), "column 'x' is null; .*: in row 4 of "),
        (pa.array([[1], [1], [2], [3], None], pa.list_(pa.int8(), 1)), "column 'x' is null; .*: in row 4 of "),
    ],
)  # fmt: skip
def test_nulls_are_named(write: Callable[[pa.Table], Path], values: pa.Array, text: str) -> None:
    path = write(pa.table({"x": values}))
    dataset = Table(path)
    for index in range(4):
        dataset[index]
    with pytest.raises(stoker.DataError, match=f"{text}{path}"):
        dataset[4]
    if dataset.get_batch is not None:
        dataset.get_batch(np.array([3, 0, 1]))
        with pytest.raises(stoker.DataError, match=text):
            dataset.get_batch(np.array([0, 4]))


def test_pictures_without_bytes_open_no_file(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encoded(smooth(4, 4), "PNG"))
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    write_parquet(tmp_path / "x.parquet", pa.table({"x": pa.array([{"path": str(tmp_path / "x.png")}], kind)}))
    with pytest.raises(stoker.DataError, match=r"column 'x' has no bytes, only the path .*x\.png: in row 0 of"):
        Table(tmp_path / "x.parquet")[0]


@pytest.mark.parametrize(
    "type_",
    [pa.timestamp("s"), pa.date32(), pa.decimal128(5), pa.list_(pa.list_(pa.int8())), pa.list_(pa.string()), pa.null(),
     pa.map_(pa.string(), pa.int8()), pa.struct({"a": pa.int8()}), pa.duration("s")],
    ids=str,
)  # fmt: skip
def test_types_that_no_value_stands_for(tmp_path: Path, type_: pa.DataType) -> None:
    assert kind_of(type_) is None
    write_file(tmp_path / "x.arrow", pa.table({"x": pa.array([None], type_), "y": [1]}))
    with pytest.raises(
        stoker.TypeMismatchError,
        match=r"x\.arrow has columns of types that no value stands for: x \(.*name those that you want",
    ):
        Table(tmp_path / "x.arrow")
    assert Table(tmp_path / "x.arrow", ["y"])[0].item() == 1


def test_columns_that_are_not_there(path: Path) -> None:
    with pytest.raises(stoker.ArgumentError, match="which has number, score, name; got size"):
        Table(path, ["size"])
    with pytest.raises(stoker.ArgumentError, match="at least one is needed"):
        Table(path, [])
    with pytest.raises(stoker.DataError, match="or one was asked for twice: name, name"):
        Table(path, ["name", "name"])
    with pytest.raises(stoker.ArgumentError, match="cache_bytes must be at least 0; got -1"):
        Table(path, cache_bytes=-1)


def test_files_that_do_not_agree(tmp_path: Path) -> None:
    write_file(tmp_path / "a.arrow", pa.table({"x": [1], "y": [1]}))
    write_file(tmp_path / "b.arrow", pa.table({"x": [1.5], "y": [1]}))
    write_file(tmp_path / "c.arrow", pa.table({"y": [1]}))
    with pytest.raises(
        stoker.DataError,
        match=r"column 'x' is number float64 in .*b\.arrow and number int64 in .*a\.arrow; files must agree",
    ):
        Table([tmp_path / "a.arrow", tmp_path / "b.arrow"])
    with pytest.raises(stoker.ArgumentError, match=r"columns must be of those of .*c\.arrow, which has y; got x"):
        Table([tmp_path / "a.arrow", tmp_path / "c.arrow"])
    assert len(Table(tmp_path, ["y"])) == 3


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.feather", "x.csv"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"ARROW1\0\0junk", b"\xff\xff\xff\xff\xff\xff\xff\x7f"])
def test_what_is_no_table_is_named(tmp_path: Path, name: str, content: bytes, no_leaks: Holdings) -> None:
    (tmp_path / name).write_bytes(content)
    try:
        dataset = Table(tmp_path / name)
    except stoker.DataError as error:
        assert f"cannot read {tmp_path / name}: " in str(error)  # noqa: PT017 (a CSV of one line has a header)
    else:
        assert (name, len(dataset)) == ("x.csv", 0)


def test_a_truncated_table_is_named(write: Callable[[pa.Table], Path]) -> None:
    path = write(table(more=np.arange(ROWS)))
    data = path.read_bytes()
    for cut in (len(data) // 3, len(data) // 2, len(data) - 20):
        path.write_bytes(data[:cut])
        with pytest.raises(stoker.DataError, match=f"cannot read .*{path}"):
            Table(path)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=8))
def test_damage_is_an_error_or_other_values(tmp_path_factory: pytest.TempPathFactory, place: int, junk: bytes) -> None:
    folder = tmp_path_factory.mktemp("table")
    rows = pa.table(
        {
            "s": [f"n{i}" for i in range(6)],
            "v": [[i] * i for i in range(6)],
            "d": pa.array(list("ababab")).dictionary_encode(),
        }
    )
    write_file(folder / "x.arrow", rows)
    data = (folder / "x.arrow").read_bytes()
    place %= len(data)
    (folder / "x.arrow").write_bytes((data[:place] + junk + data[place + len(junk) :])[: len(data)])
    try:
        dataset = Table(folder / "x.arrow")
        samples = [dataset[index] for index in range(min(len(dataset), 10))]
    except (stoker.StokerError, IndexError):
        return
    assert all(
        len(part) <= len(data) for sample in samples for part in (sample if isinstance(sample, tuple) else [sample])
    )


def test_offsets_beyond_the_data_reach_nothing() -> None:
    backwards = pa.py_buffer(np.array([0, 2**30, 3], np.int32).tobytes())
    strings = pa.Array.from_buffers(pa.string(), 2, [None, backwards, pa.py_buffer(b"abc")])
    cells = cells_of(kind_of(pa.string()), strings, "x", lambda row: f"row {row}")  # type: ignore[arg-type]
    assert [cells.cell(0), cells.cell(1)] == ["abc", ""]


def test_strings_that_are_no_utf8_are_named(tmp_path: Path) -> None:
    strings = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers())
    write_file(tmp_path / "x.arrow", pa.table({"x": strings}))
    with pytest.raises(stoker.DataError, match=r"column 'x' is no UTF-8 \(.*\): in row 0 of .*x\.arrow"):
        Table(tmp_path / "x.arrow")[0]


def test_strings_in_views_and_in_pieces() -> None:
    views = pa.array(["short", "one that is too long to be inlined"], pa.string_view())
    pieces = pa.chunked_array([pa.array(["a"]), pa.array(["b", "c"]).slice(1)])
    for array, expected in ((views, views.to_pylist()), (pieces, ["a", "c"])):
        cells = cells_of(kind_of(array.type), array, "x", str)  # type: ignore[arg-type]
        assert cells.cells(np.array([1, 0])) == expected[::-1]


def test_folders_and_names_without_tables(tmp_path: Path) -> None:
    with pytest.raises(
        stoker.EmptyFolderError, match=r"no tables in .*: looked for \.arrow, \.csv, .*, in it and below"
    ):
        Table(tmp_path)
    (tmp_path / "x.xls").touch()
    with pytest.raises(stoker.DataError, match=r"x\.xls is no table: its name must end in \.arrow, \.csv, "):
        Table(tmp_path / "x.xls")
    with pytest.raises(FileNotFoundError, match=r"there is nothing at .*y\.csv"):
        Table(tmp_path / "y.csv")


def test_files_that_have_to_be_decoded_are_read_by_workers(tmp_path: Path) -> None:
    table = pa.table({"x": np.arange(100)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=30)
    with pa.ipc.new_file(tmp_path / "t.arrow", table.schema) as writer:
        writer.write_table(table)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(tmp_path / "z.arrow", table.schema, options=options) as writer:
        writer.write_table(table, 40)
    told = {
        name: (Table(tmp_path / name).chunk_rows, Loader(Table(tmp_path / name), num_workers=2).stats()["executor"])
        for name in ("t.parquet", "t.arrow", "z.arrow")
    }
    assert told == {"t.parquet": (30, "process"), "t.arrow": (None, "inline"), "z.arrow": (40, "process")}
    assert Table(tmp_path / "t.parquet").map(batch=list).chunk_rows == 30
    assert Table(tmp_path / "t.parquet").select([3, 1]).chunk_rows is None  # in an order of its own
