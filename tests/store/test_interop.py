"""Shards are Arrow files that other tools open as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stoker
from stoker.data.packed import Packed
from stoker.store.schema import Column
from tests.store.every_kind import Made

pa = pytest.importorskip("pyarrow")


def row(index: int) -> dict[str, Any]:
    return {
        "n": index,
        "x": np.full((2, 2), index, np.float32),
        "r": np.arange(index % 3),
        "s": f"ä{index}",
        "b": bytes(index),
    }


@pytest.fixture
def store(tmp_path: Path) -> Path:
    stoker.pack(Made(row, 20), tmp_path / "a", num_workers=0, shard_bytes=300)
    assert len(list((tmp_path / "a" / "data").iterdir())) > 1
    return tmp_path / "a"


def expected() -> list[dict[str, Any]]:
    return [{**row(index), "x": [float(index)] * 4, "r": list(range(index % 3))} for index in range(20)]


def test_pyarrow_opens_each_shard(store: Path) -> None:
    rows = []
    for path in sorted((store / "data").iterdir()):
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
            table.validate(full=True)
            rows += table.to_pylist()
    assert rows == expected()


def test_pyarrow_opens_the_folder(store: Path) -> None:
    dataset = pytest.importorskip("pyarrow.dataset").dataset(store / "data", format="ipc")
    assert dataset.to_table().to_pylist() == expected()


def test_a_field_s_metadata_is_its_column(store: Path) -> None:
    import json

    schema = pa.ipc.open_file(store / "data" / "00000.arrow").schema
    columns = [Column.from_json(json.loads(field.metadata[b"stoker"])) for field in schema]
    assert tuple(columns) == Packed(store).reader.manifest.schema.columns


def test_polars_opens_it(store: Path) -> None:
    polars = pytest.importorskip("polars")
    assert polars.scan_ipc(store / "data" / "*.arrow").collect()["n"].to_list() == list(range(20))


def test_duckdb_asks_it(store: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    shards = pytest.importorskip("pyarrow.dataset").dataset(store / "data", format="ipc")
    assert duckdb.sql("SELECT sum(n) FROM shards").fetchall() == [(190,)]
    assert shards is not None


def test_hugging_face_datasets_opens_it(store: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    found = datasets.load_dataset(
        "arrow", data_files=str(store / "data" / "*.arrow"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert found["n"] == list(range(20)) or list(found["n"]) == list(range(20))
