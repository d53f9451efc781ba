"""WebDataset's tars as datasets."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import stoker
from stoker.data import Tars
from stoker.image import EncodedImage
from tests.data.source_checks import check_loaders, check_source
from tests.image.pictures import encoded, smooth
from tests.leaks import Holdings


def write_tar(path: Path, members: dict[str, bytes], tar_format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=tar_format) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def sample(number: int) -> dict[str, bytes]:
    key = f"deep.er/{number:04d}"
    return {
        f"{key}.png": encoded(smooth(8, 9), "PNG"),
        f"{key}.cls": f" {number}\n".encode(),
        f"{key}.Caption.TXT": f"ñ{number}".encode(),
        f"{key}.json": json.dumps({"number": number, "list": [1, None]}).encode(),
        f"{key}.npy": npy(np.full((2, 3), number, ">f4")),
        f"{key}.pkl": pickle.dumps(number),
    }


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    for shard in range(3):
        members: dict[str, bytes] = {}
        for number in range(4 * shard, 4 * shard + 4):
            members |= sample(number)
        write_tar(tmp_path / f"shard-{shard}.tar", {"README": b"no sample", ".hidden.cls": b"9", **members})
    return tmp_path


def test_members_of_one_key_are_a_sample(tars: Path) -> None:
    dataset = stoker.open(tars)
    assert isinstance(dataset, Tars)
    assert (len(dataset), dataset.columns) == (12, ("png", "cls", "caption.txt", "json", "npy", "pkl"))
    image, label, caption, metadata, array, pickled = dataset[7]
    assert (tuple(image.shape), image.dtype) == ((3, 8, 9), torch.uint8)
    assert (label, caption, metadata) == (7, "ñ7", {"number": 7, "list": [1, None]})
    assert (array.dtype, array.tolist()) == (torch.float32, [[7] * 3] * 2)
    assert pickled == pickle.dumps(7)
    assert dataset.sample_path(7) == f"{tars / 'shard-1.tar'}: deep.er/0007"
    assert dataset.sample_name(7) == "deep.er/0007"


def test_images_stay_encoded_for_who_takes_them(tars: Path) -> None:
    raw = Tars(tars, ["png"]).read(5)[0]
    assert isinstance(raw, EncodedImage)
    assert raw.path == f"deep.er/0005.png of {tars / 'shard-1.tar'}"
    assert Tars(tars, ["png"]).map(png=lambda image: image.size)[0] == (9, 8)


def test_it_is_read_alike_in_every_way(tars: Path, no_leaks: Holdings) -> None:
    check_source(Tars(tars), nested=True)
    check_loaders(Tars(tars, ["cls", "npy", "__key__"]))


@pytest.mark.parametrize(
    "several", ["shard-*.tar", ["shard-0.tar", "shard-2.tar"], ["shard-1.tar"], ["shard-[12].tar"]]
)
def test_patterns_and_lists(tars: Path, several: str | list[str]) -> None:
    given = str(tars / several) if isinstance(several, str) else [tars / name for name in several]
    dataset = stoker.open(given, columns=["cls"])  # type: ignore[arg-type]
    numbers = [dataset[index] for index in range(len(dataset))]
    expected = {"shard-*.tar": range(12), "shard-0.tar": [0, 1, 2, 3, 8, 9, 10, 11], "shard-1.tar": range(4, 8)}
    assert numbers == list(expected.get(several if isinstance(several, str) else several[0], range(4, 12)))


def test_more_tars_than_stay_open(tmp_path: Path, no_leaks: Holdings) -> None:
    for number in range(70):
        write_tar(tmp_path / f"{number:02d}.tar", {"a.cls": str(number).encode()})
    dataset = Tars(tmp_path)
    assert [dataset[index] for index in range(70)] == list(range(70))
    held = [target for target in Holdings.now().descriptors.values() if target.endswith(".tar")]
    assert len(held) == 64
    check_source(dataset)


def test_keys_and_columns_can_be_chosen(tars: Path) -> None:
    assert Tars(tars, ["__key__", "cls"])[3] == ("deep.er/0003", 3)
    with pytest.raises(
        stoker.ArgumentError, match=r"columns must be of those in the tars, png, cls, .*, __key__; got jpg"
    ):
        Tars(tars, ["jpg"])


names = st.text(st.sampled_from("ab./_ñ"), min_size=1, max_size=6).filter(lambda name: not name.endswith("/"))


@settings(max_examples=50)
@given(st.lists(names, unique=True, min_size=1, max_size=12), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_names_are_split_as_webdataset_splits_them(
    tmp_path_factory: pytest.TempPathFactory, given_names: list[str], tar_format: int
) -> None:
    path = write_tar(
        tmp_path_factory.mktemp("tar") / "x.tar", {name: name.encode() for name in given_names}, tar_format
    )
    expected: list[tuple[str, dict[str, bytes]]] = []
    for name in given_names:
        folder, slash, base = name.rpartition("/")
        stem, _, column = base.partition(".")
        if not stem or not column:
            continue
        if not expected or expected[-1][0] != folder + slash + stem:
            expected.append((folder + slash + stem, {}))
        expected[-1][1][column] = name.encode()
    if not expected:
        with pytest.raises(stoker.DataError, match=r"there are no samples in .*x\.tar"):
            Tars(path)
        return
    dataset = Tars(path)
    assert len(dataset) == len(expected)
    for index, (key, columns) in enumerate(expected):
        chosen = Tars(path, ["__key__", *columns])
        assert chosen.read(index) == (key, *columns.values())


# What cannot be read


def test_a_sample_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"a.cls": b"1", "a.txt": b"x", "b.cls": b"2", "c.txt": b"y"})
    dataset = Tars(path)
    assert dataset[0] == (1, "x")
    with pytest.raises(
        stoker.DataError,
        match=r"sample 'b' of .*x\.tar has no 'txt', which other samples have; it has cls\. Name columns",
    ):
        dataset[1]
    assert Tars(path, ["cls"])[1] == 2


def test_names_are_text_that_opens_no_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("../secret.txt", str(secret)):
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"mine"))
        for kind, name in (
            (tarfile.SYMTYPE, "link.txt"),
            (tarfile.LNKTYPE, "hard.txt"),
            (tarfile.FIFOTYPE, "fifo.txt"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(secret)
            tar.addfile(info)
    before = sorted(os.listdir(tmp_path))
    dataset = Tars(path, ["__key__", "txt"])
    assert [dataset[index] for index in range(len(dataset))] == [("../secret", "mine"), (str(secret)[:-4], "mine")]
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("pickled", ["pkl", "pickle", "pyd", "pth"])
def test_pickles_are_bytes(tmp_path: Path, pickled: str) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "harm"),)

    stream = io.BytesIO()
    data = io.BytesIO()
    np.save(data, np.array([Harm()], object), allow_pickle=True)
    pickle.dump([1], stream)
    path = write_tar(tmp_path / "x.tar", {f"a.{pickled}": stream.getvalue(), "a.npy": data.getvalue()})
    assert Tars(path, [pickled])[0] == stream.getvalue()
    with pytest.raises(stoker.DataError, match=r"cannot read a\.npy of .*x\.tar: it holds pickled Python objects"):
        Tars(path)[0]
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("column", "data", "text"),
    [
        ("cls", b"cat", "as cls: invalid literal for int"),
        ("txt", b"\xff", "as txt: 'utf-8' codec can't decode"),
        ("json", b"{", "as json: Expecting property name"),
        ("json", b"[" * 100_000, "as json: maximum recursion depth"),
        ("npy", b"\x93NUMPY", r"cannot read a\.npy of "),
    ],
)
def test_members_that_cannot_be_parsed_are_named(tmp_path: Path, column: str, data: bytes, text: str) -> None:
    dataset = Tars(write_tar(tmp_path / "x.tar", {f"a.{column}": data}))
    with pytest.raises(stoker.DataError, match=text) as caught:
        dataset[0]
    assert f"cannot read a.{column} of {tmp_path / 'x.tar'}" in str(caught.value)


def test_a_tar_cut_anywhere_is_an_error(tmp_path: Path, no_leaks: Holdings) -> None:
    whole = write_tar(tmp_path / "x.tar", {"a.txt": b"x" * 700, "b.txt": b"y" * 100}).read_bytes()
    end = 512 + 1024 + 512 + 512
    for cut in [0, 1, 300, 511, 512, 600, 1535, 1536, 1600, 2048, 2100, end, end + 100]:
        (tmp_path / "x.tar").write_bytes(whole[:cut])
        with pytest.raises(stoker.DataError, match=r"cannot read .*x\.tar as a tar: "):
            Tars(tmp_path / "x.tar")
    (tmp_path / "x.tar").write_bytes(whole[:-1])
    assert len(Tars(tmp_path / "x.tar")) == 2


@settings(max_examples=100)
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=40))
def test_damage_is_a_data_error_or_other_bytes(
    tmp_path_factory: pytest.TempPathFactory, place: int, junk: bytes
) -> None:
    path = write_tar(
        tmp_path_factory.mktemp("tar") / "x.tar", {"a.bin": b"x" * 700, "b.bin": b"y" * 100}, tarfile.GNU_FORMAT
    )
    data = path.read_bytes()
    path.write_bytes(data[:place] + junk + data[place + len(junk) :])
    try:
        dataset = Tars(path)
        values = [dataset.read(index) for index in range(len(dataset))]
    except stoker.DataError as error:
        assert str(path) in str(error)  # noqa: PT017 (either outcome is right)
    else:
        assert sum(len(value[0]) for value in values) <= len(data)


def test_damage_in_the_middle_is_not_the_end(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"a.txt": b"x", "b.txt": b"y"}, tarfile.GNU_FORMAT)
    data = bytearray(path.read_bytes())
    data[1024 + 10] ^= 1  # in the second header, whose checksum no longer fits
    path.write_bytes(data)
    with pytest.raises(stoker.DataError, match="it is damaged or truncated at offset 1,024"):
        Tars(path)


def test_a_size_that_is_negative(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"a.txt": b"x"}, tarfile.GNU_FORMAT)
    info = tarfile.TarInfo("a.txt")
    info.size = -512
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + path.read_bytes())
    with pytest.raises(stoker.DataError, match=r"cannot read .*x\.tar as a tar"):
        Tars(path)


def test_compressed_tars_have_no_random_access(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"a.txt": b"x"})
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(stoker.DataError, match="if it is compressed, decompress it"):
        Tars(path)


def test_a_tar_that_shrank_since_is_told(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {"a.txt": b"x" * 100})
    dataset = Tars(path)
    os.truncate(path, 520)
    with pytest.raises(stoker.DataError, match=r"cannot read a\.txt of .*x\.tar: the tar was truncated since"):
        dataset[0]


def test_one_name_twice(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("a.txt"))
    with pytest.raises(stoker.DataError, match=r"x\.tar holds a\.txt twice, in one sample"):
        Tars(path)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is nothing at .*braces are not expanded: give a pattern"):
        Tars(tmp_path / "x-{000..003}.tar")
    with pytest.raises(stoker.DataError, match=r"there is no \.tar in "):
        Tars(tmp_path)
