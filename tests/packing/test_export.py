"""stoker.export: what was packed comes out again, in files that other programs read."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import stoker
from stoker.data import ImageFolder
from stoker.data.packed import Packed
from tests.image.pictures import encoded, jpeg, smooth


def make_folder(root: Path) -> Path:
    """Six images in two classes: JPEGs, a PNG, and names that are not plain."""
    for number, name in enumerate(
        ["cat/a.JPEG", "cat/b.jpg", "cat/deep/c.v1.jpg", "dog/a.jpg", "dog/a.png", "dog/é.jpeg"]
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = smooth(40 + number, 50, seed=number)
        path.write_bytes(encoded(pixels, "PNG") if name.endswith("png") else jpeg(pixels))
    return root


def pack(source: Any, target: Path, **options: Any) -> Path:
    stoker.pack(source, target, num_workers=0, **options)
    return target


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images")


class Rows:
    """Samples of one column, or dicts of several."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


def mixed_rows() -> Rows:
    rows = [
        {
            "vector": np.arange(3, dtype=np.float32) + number,
            "flag": number % 2 == 0,
            "half": torch.tensor([number / 3, 1.0]).bfloat16(),
            "text": f"line {number} é",
            "bag": np.arange(number, dtype=np.int16),
            "matrix": np.full((number + 1, 2), number, np.float64),
            "extra": {"k": None} if number else "a",
            "blob": bytes([number]) * number,
            "number": number * 0.5,
        }
        for number in range(5)
    ]
    return Rows([{**row, "extra": row["extra"] if number == 0 else "b"} for number, row in enumerate(rows)])


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


# Folders


def test_a_folder_comes_back_with_its_names_pixels_and_labels(folder: Path, tmp_path: Path) -> None:
    stoker.export(pack(folder, tmp_path / "store"), tmp_path / "out")
    before, after = ImageFolder(folder), ImageFolder(tmp_path / "out")
    assert list(after.paths) == list(before.paths)
    assert after.classes == before.classes
    assert all(torch.equal(before[n][0], after[n][0]) and before[n][1] == after[n][1] for n in range(len(before)))


def test_image_bytes_are_those_of_the_store(folder: Path, tmp_path: Path) -> None:
    store = Packed(pack(folder, tmp_path / "store"))
    stoker.export(store, tmp_path / "out", "folder")
    for number in range(len(store)):
        assert (tmp_path / "out" / str(store.sample_name(number))).read_bytes() == store.read(number)[0].data


def test_pixels_become_pngs_and_an_ending_that_would_lie_is_replaced(folder: Path, tmp_path: Path) -> None:
    store = Packed(pack(folder, tmp_path / "store", images="raw"))
    stoker.export(store, tmp_path / "out")
    assert files_below(tmp_path / "out") == [
        "cat/a.png", "cat/b.png", "cat/deep/c.v1.png", "dog/a.png", "dog/a~2.png", "dog/é.png",
    ]  # fmt: skip
    with Image.open(tmp_path / "out" / "cat" / "b.png") as image:
        assert np.array_equal(np.array(image), store[1][0].permute(1, 2, 0).numpy())


def test_variants_are_numbered(folder: Path, tmp_path: Path) -> None:
    stoker.export(pack(folder, tmp_path / "store", augment=3), tmp_path / "out")
    assert [name for name in files_below(tmp_path / "out") if name.startswith("cat/b")] == [
        "cat/b-0.jpg", "cat/b-1.jpg", "cat/b-2.jpg",
    ]  # fmt: skip


def test_names_that_are_no_text_become_text(tmp_path: Path) -> None:
    (tmp_path / "images" / "a").mkdir(parents=True)
    for name in (b"caf\xe9.jpg", b"caf\xe8.jpg"):
        Path(os.fsdecode(os.fsencode(tmp_path / "images" / "a") + b"/" + name)).write_bytes(jpeg(smooth(20, 20)))
    stoker.export(pack(tmp_path / "images", tmp_path / "store"), tmp_path / "out")
    assert files_below(tmp_path / "out") == ["a/caf_xe8.jpg", "a/caf_xe9.jpg"]


def test_names_that_lead_elsewhere_stay_in_the_folder(tmp_path: Path) -> None:
    class Named(stoker.data.Dataset):
        columns = ("image", "label")
        classes = ("../up", "/root")

        def __len__(self) -> int:
            return 2

        def read(self, index: int) -> tuple[Any, ...]:
            return stoker.image.EncodedImage(jpeg(smooth(16, 16))), index

        def sample_name(self, index: int) -> str:
            return ["../../evil.jpg", "/etc/evil.jpg"][index]

    (tmp_path / "x").mkdir()
    stoker.export(pack(Named(), tmp_path / "store"), tmp_path / "x" / "out")
    assert files_below(tmp_path / "x") == ["out/.._up/evil.jpg", "out/_root/etc/evil.jpg"]


def test_samples_of_one_name_and_classes_of_one_folder_stay_apart(tmp_path: Path) -> None:
    class Same(stoker.data.Dataset):
        columns = ("image", "label")
        classes = ("a/b", "a_b")

        def __len__(self) -> int:
            return 4

        def read(self, index: int) -> tuple[Any, ...]:
            return stoker.image.EncodedImage(jpeg(smooth(16, 16))), index % 2

        def sample_name(self, index: int) -> str:
            return "x.jpg"

    stoker.export(pack(Same(), tmp_path / "store"), tmp_path / "out")
    assert files_below(tmp_path / "out") == ["a_b/x.jpg", "a_b/x~2.jpg", "a_b~2/x.jpg", "a_b~2/x~2.jpg"]


def test_samples_without_names_and_images_become_numbered_files(tmp_path: Path) -> None:
    stoker.export(pack(mixed_rows(), tmp_path / "store"), tmp_path / "out")
    out = tmp_path / "out"
    assert [name for name in files_below(out) if name.startswith("00000002")] == [
        "00000002.bag.npy", "00000002.blob.bin", "00000002.extra.txt", "00000002.flag.json", "00000002.half.npy",
        "00000002.matrix.npy", "00000002.number.json", "00000002.text.txt", "00000002.vector.npy",
    ]  # fmt: skip
    assert np.array_equal(np.load(out / "00000002.matrix.npy"), np.full((3, 2), 2.0))
    assert (out / "00000002.text.txt").read_text() == "line 2 é"
    assert json.loads((out / "00000002.number.json").read_text()) == 1.0
    assert (out / "00000002.blob.bin").read_bytes() == b"\2\2"


# NumPy


def test_one_column_becomes_one_array(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 4, 5)).astype(np.float32)
    place = stoker.export(pack(Rows(list(rows)), tmp_path / "store"), tmp_path / "rows.npy")
    assert place == str(tmp_path / "rows.npy")
    assert np.array_equal(np.load(place), rows)


def test_several_columns_become_a_folder_of_arrays(tmp_path: Path) -> None:
    rows = Rows([(np.full(3, n, np.int32), n % 2 == 0, torch.tensor(n / 3).bfloat16()) for n in range(9)])
    place = Path(stoker.export(pack(rows, tmp_path / "store"), tmp_path / "rows.npy"))
    assert place == tmp_path / "rows"
    assert np.array_equal(np.load(place / "0.npy"), [row[0] for row in rows.rows])
    assert np.load(place / "1.npy").tolist() == [row[1] for row in rows.rows]
    assert np.load(place / "2.npy").tolist() == [row[2].item() for row in rows.rows]


def test_pixels_of_one_size_become_an_array(tmp_path: Path) -> None:
    images = [smooth(12, 10, seed=n) for n in range(4)]
    store = pack(Rows([Image.fromarray(image) for image in images]), tmp_path / "store", images="raw")
    assert np.array_equal(np.load(stoker.export(store, tmp_path / "images", "npy")), images)
    assert files_below(tmp_path)[0] == "images.npy"


def test_rows_of_different_shapes_are_no_npy(folder: Path, tmp_path: Path) -> None:
    store = pack(folder, tmp_path / "store")
    with pytest.raises(
        stoker.ArgumentError, match=r"these columns have none: image \(image\). Export to hdf5, tar or folder"
    ):
        stoker.export(store, tmp_path / "a.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "store"]


# HDF5


def test_hdf5_has_every_column_and_name(folder: Path, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    store = Packed(pack(folder, tmp_path / "store"))
    stoker.export(store, tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        assert [data.tobytes() for data in file["image"]] == [store.read(n)[0].data for n in range(len(store))]
        assert file["label"][:].tolist() == [store.read(n)[1] for n in range(len(store))]
        assert file["_name"].asstr()[:].tolist() == [store.sample_name(n) for n in range(len(store))]
        assert list(file.attrs["classes"]) == ["cat", "dog"]


def test_hdf5_holds_numbers_of_all_kinds(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    rows = mixed_rows()
    stoker.export(pack(rows, tmp_path / "store"), tmp_path / "out.hdf5")
    with h5py.File(tmp_path / "out.hdf5") as file:
        assert file["flag"].dtype == bool
        for number, row in enumerate(rows.rows):
            assert np.array_equal(file["vector"][number], row["vector"])
            assert file["flag"][number] == row["flag"]
            assert np.array_equal(file["half"][number], row["half"].float().numpy())
            assert file["text"].asstr()[number] == row["text"]
            assert np.array_equal(file["bag"][number], row["bag"])
            assert np.array_equal(file["matrix"][number].reshape(file["matrix.shape"][number]), row["matrix"])
            assert file["blob"][number].tobytes() == row["blob"]


def test_hdf5_holds_more_classes_than_an_old_attribute(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")

    class Many(Rows):
        classes = tuple(f"class {n:060}" for n in range(6000))

    stoker.export(pack(Many([1, 2]), tmp_path / "store"), tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        assert tuple(file.attrs["classes"]) == Many.classes


# Tars


def test_a_tar_is_read_by_tarfile_and_by_stoker(folder: Path, tmp_path: Path) -> None:
    store = Packed(pack(folder, tmp_path / "store"))
    stoker.export(store, tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as tar:
        content = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    assert content["cat/a.jpg"] == store.read(0)[0].data
    assert content["cat/a.cls"] == b"0"
    assert [name for name in content if name.startswith("cat/deep")] == ["cat/deep/c_v1.jpg", "cat/deep/c_v1.cls"]
    tars = stoker.data.Tars(tmp_path / "out.tar", columns=["cls", "__key__"])
    assert len(tars) == len(store)
    assert [tars[n][0] for n in range(len(tars))] == [store.read(n)[1] for n in range(len(store))]
    assert tars[4] == (1, "dog/a~2")  # a.jpg and a.png would be one sample


def test_a_tar_is_the_same_every_time(folder: Path, tmp_path: Path) -> None:
    store = pack(folder, tmp_path / "store")
    one, other = (Path(stoker.export(store, tmp_path / name)) for name in ("1.tar", "2.tar"))
    assert one.read_bytes() == other.read_bytes()


def test_several_tars_hold_every_sample_once(folder: Path, tmp_path: Path) -> None:
    store = pack(folder, tmp_path / "store")
    place = Path(stoker.export(store, tmp_path / "out.tar", shard_bytes=8000))
    assert place == tmp_path / "out"
    assert len(files_below(place)) > 1
    names = []
    for path in sorted(place.iterdir()):
        with tarfile.open(path) as tar:
            names += tar.getnames()
    assert len(set(names)) == len(names) == 12


def test_arrays_in_a_tar_are_npy(tmp_path: Path) -> None:
    stoker.export(pack(Rows([np.arange(3)]), tmp_path / "store"), tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as tar:
        data = tar.extractfile("00000000.npy")
        assert data is not None
        assert np.load(io.BytesIO(data.read())).tolist() == [0, 1, 2]


# What holds for all of them


@pytest.mark.parametrize("name", ["out", "out.h5", "out.tar", "out.npy"])
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    store = pack(Rows([1, 2]), tmp_path / "store")
    (tmp_path / name).write_text("mine")
    with pytest.raises(stoker.ArgumentError, match=f"{name} exists already; choose another place, or remove it"):
        stoker.export(store, tmp_path / name)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["out", "out.h5", "out.tar", "out.npy"])
def test_a_damaged_store_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    store = pack(Rows(list(np.arange(300.0))), tmp_path / "store")
    shard = store / "data" / "00000.arrow"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(stoker.StoreError, match="does not match its checksum"):
        stoker.export(store, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_progress_ends_with_all_rows(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    store = pack(Rows(list(range(10))), tmp_path / "store")
    stoker.export(store, tmp_path / "out", progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (10, 10)
    assert calls == sorted(calls)


def test_arguments_that_break_a_rule_are_told(tmp_path: Path) -> None:
    store = pack(Rows([1, 2]), tmp_path / "store")
    with pytest.raises(stoker.ArgumentError, match="to must be one of folder, hdf5, npy, tar; got 'zip'"):
        stoker.export(store, tmp_path / "out", "zip")
    with pytest.raises(stoker.ArgumentError, match="shard_bytes is for tars; got to='folder'"):
        stoker.export(store, tmp_path / "out", shard_bytes=9)
    with pytest.raises(stoker.ArgumentError, match=r"there is no folder .*nowhere to put out into"):
        stoker.export(store, tmp_path / "nowhere" / "out")


def test_what_is_no_store_is_told(tmp_path: Path) -> None:
    with pytest.raises(stoker.StoreError, match=r"is no packed store: it has no manifest\.json\."):
        stoker.export(tmp_path, tmp_path / "out")
    (tmp_path / "half.partial").mkdir()
    with pytest.raises(stoker.StoreError, match="a pack into it was not completed: the same command goes on"):
        stoker.export(tmp_path / "half", tmp_path / "out")
