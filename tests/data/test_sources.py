"""Folders, arrays, mapping, selecting, splitting, and what `stoker.open` says."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader, Subset, TensorDataset, default_collate

import stoker
from stoker import Loader
from stoker.data import Arrays, ImageFolder
from stoker.data.bulk import bulk_reader
from stoker.data.gather import TensorRows
from stoker.data.piece_rows import PieceRows
from stoker.image import CenterCrop, Pipeline, RandomResizedCrop
from stoker.testing import batch_hash


def write_image(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 30, 3), level, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Class folders b and a, nested, with something that is no image beside them."""
    for number, name in enumerate(["b/2.png", "b/1.png", "a/deep/3.PNG", "a/0.jpg", "b/10.png"]):
        write_image(tmp_path / name, number * 20)
    (tmp_path / "b/notes.txt").write_text("not an image")
    (tmp_path / "empty").mkdir()
    return tmp_path


# Folders


def test_a_folder_of_classes_is_torchvision_s(folder: Path) -> None:
    ours = ImageFolder(folder)
    datasets = pytest.importorskip("torchvision.datasets")
    theirs = datasets.ImageFolder(folder, allow_empty=True)
    assert ours.classes == ["a", "b"]
    assert [path for path, _ in ours.samples] == [path for path, _ in theirs.samples]
    assert [ours.classes[label] for label in ours.targets] == [theirs.classes[label] for label in theirs.targets]
    assert ours.class_to_idx == {"a": 0, "b": 1}


def test_a_sample_is_the_image_and_its_label(folder: Path) -> None:
    image, label = ImageFolder(folder)[3]
    assert (image.shape, image.dtype, label) == ((3, 20, 30), torch.uint8, 1)
    assert int(image[0, 0, 0]) == 80


def test_a_flat_folder_has_images_alone(folder: Path) -> None:
    flat = stoker.open(folder / "b")
    assert flat.columns == ("image",)
    assert flat.classes == []  # type: ignore[attr-defined]
    assert [int(flat[index][0, 0, 0]) for index in range(3)] == [20, 80, 0]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    write_image(tmp_path / "a/x.png", 50)
    os.rename(tmp_path / "a/x.png", os.fsencode(tmp_path / "a") + b"/\xff\xfe.png")
    dataset = ImageFolder(tmp_path)
    assert int(dataset[0][0][0, 0, 0]) == 50
    assert next(iter(Loader(dataset, num_workers=2, executor="process")))[0].shape == (1, 3, 20, 30)


@pytest.mark.parametrize(
    ("names", "seen"),
    [([], "no files at all"), (["a.txt", "b.txt", "c/d.doc"], "2 × .txt, 1 × .doc"), (["Makefile"], "1 × Makefile")],
)
def test_a_folder_without_images_says_what_it_holds(tmp_path: Path, names: list[str], seen: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(
        stoker.EmptyFolderError, match=rf"no images in .*: looked for \.bmp, .*, in it and below, and found {seen}\."
    ):
        ImageFolder(tmp_path)
    with pytest.raises(
        stoker.EmptyFolderError, match=rf"no reader for .*, a folder that holds {seen}\. What can be read: "
    ):
        stoker.open(tmp_path)


def test_a_damaged_array_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"not an array")
    with pytest.raises(stoker.DataError, match=r"cannot read .*x\.npy"):
        stoker.open(tmp_path / "x.npy")


def test_an_image_that_cannot_be_read_is_named_wherever_it_is_read(folder: Path) -> None:
    (folder / "b/1.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    dataset = stoker.open(folder).map(image=Pipeline(CenterCrop(8)))
    for arguments in ({}, {"num_workers": 2, "executor": "process"}, {"num_workers": 2, "executor": "thread"}):
        with pytest.raises(stoker.ImageError, match=r"cannot decode the image .*b/1\.png") as caught:
            list(Loader(dataset, batch_size=2, **arguments))
        assert "while loading sample 2" in str(caught.value) + "".join(getattr(caught.value, "__notes__", []))


# Columns


def test_map_applies_by_column(folder: Path) -> None:
    mapped = stoker.open(folder).map(image=Pipeline(CenterCrop(8)), label=lambda label: label + 100)
    image, label = mapped[0]
    assert (image.shape, label) == ((3, 8, 8), 100)
    assert mapped.classes == ["a", "b"]  # type: ignore[attr-defined]
    with pytest.raises(
        stoker.ArgumentError, match="map needs columns of the dataset, which has image, label; got picture"
    ):
        mapped.map(picture=abs)


def test_map_of_whole_batches_comes_after_collation(folder: Path) -> None:
    def mean_and_count(batch: Any) -> Any:
        images, labels = batch
        return images.float().mean((1, 2, 3)), len(labels)

    dataset = stoker.open(folder).map(image=Pipeline(CenterCrop(8))).map(batch=mean_and_count)
    for arguments in ({}, {"num_workers": 2, "executor": "process"}):
        batches = list(Loader(dataset, batch_size=4, **arguments))
        assert [(means.shape[0], count) for means, count in batches] == [(4, 4), (1, 1)]


def test_stoker_s_own_operations_are_known_to_draw_nothing_else(folder: Path) -> None:
    dataset = stoker.open(folder)
    assert not dataset.draws_randomness
    assert not dataset.map(image=Pipeline(RandomResizedCrop(8))).draws_randomness
    assert dataset.map(image=Pipeline(lambda image: image)).draws_randomness
    assert dataset.map(label=str).select([0]).draws_randomness


def test_select_and_split() -> None:
    dataset = Arrays(np.arange(100))
    assert [int(dataset.select([5, 3, 5])[index]) for index in range(3)] == [5, 3, 5]
    parts = dataset.split(0.8, 0.1, 0.1, seed=3)
    assert [len(part) for part in parts] == [80, 10, 10]
    together = [int(part[index]) for part in parts for index in range(len(part))]
    assert sorted(together) == list(range(100))
    assert [int(dataset.split(0.9, seed=3)[1][i]) for i in range(10)] == [
        int(dataset.split(0.9, seed=3)[1][i]) for i in range(10)
    ]
    assert [len(part) for part in dataset.split(0.9)] == [90, 10]
    with pytest.raises(
        stoker.ArgumentError, match=r"split needs positive fractions that add up to 1 at most; got 0\.9, 0\.2"
    ):
        dataset.split(0.9, 0.2)
    with pytest.raises(stoker.ArgumentError, match=r"indices must be in \[0, 100\); got 100"):
        dataset.select([100])


# Arrays and the bulk path


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.uint8, torch.int64, torch.bool, torch.bfloat16, torch.complex64, torch.float64]
)
@pytest.mark.parametrize("shape", [(), (3,), (2, 5), (0,)])
def test_rows_are_gathered_as_indexing_does(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = (torch.randn(50, *shape) * 10).to(dtype)
    for source in (
        tensor,
        tensor.expand(50, *shape),
        tensor.flip(0)[::2],
        tensor.transpose(0, -1) if tensor.ndim > 1 and 0 not in shape else tensor,
    ):
        indices = np.random.default_rng(0).integers(0, len(source), 33)
        gathered = TensorRows(source).gather(indices)
        assert torch.equal(gathered, source[torch.from_numpy(indices)])
        assert gathered.untyped_storage().data_ptr() != source.untyped_storage().data_ptr() or not gathered.numel()


def test_an_index_out_of_range_is_an_error_and_no_crash() -> None:
    for bad in (10, -1, 1 << 62):
        with pytest.raises(IndexError, match=rf"index {bad} is out of range for 10 rows"):
            TensorRows(torch.zeros(10, 3)).gather(np.array([0, bad]))


def test_tensor_datasets_are_read_in_bulk_and_equal_torch_s_batches() -> None:
    dataset = TensorDataset(torch.randn(101, 7), torch.arange(101), torch.randn(101, 2, 3).to(torch.float16))
    for source in (dataset, Subset(dataset, range(3, 90)), Subset(Subset(dataset, list(range(80))), [5, 5, 1])):
        assert bulk_reader(source, True) is not None
        ours, theirs = list(Loader(source, batch_size=8)), list(DataLoader(source, batch_size=8))
        assert [batch_hash(batch) for batch in ours] == [batch_hash(batch) for batch in theirs]
    assert bulk_reader(dataset, False) is None
    assert bulk_reader(TensorDataset(torch.randn(5, requires_grad=True)), True) is None

    class Changed(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            return tuple(tensor[index] + 1 for tensor in self.tensors)

    assert bulk_reader(Changed(torch.zeros(5)), True) is None

    class Named(TensorDataset):
        classes = ("a", "b")

    assert bulk_reader(Named(torch.zeros(5)), True) is not None


def test_a_tensor_is_a_dataset_of_its_rows() -> None:
    for tensor in (torch.randn(21, 3), torch.arange(21), torch.randn(3, 21).t()):
        assert bulk_reader(tensor, True) is not None
        ours, theirs = list(Loader(tensor, batch_size=4)), list(DataLoader(tensor, batch_size=4))
        assert [batch_hash(batch) for batch in ours] == [batch_hash(batch) for batch in theirs]
        ours[0].zero_()
        assert tensor.any()
    assert bulk_reader(torch.tensor(3), True) is None


class PerSample(Arrays):
    """Refuses to give single samples."""

    def read(self, index: int) -> Any:
        raise AssertionError("a sample was made")


def test_whole_batches_are_mapped_without_making_samples() -> None:
    rows = PerSample(np.arange(40.0).reshape(20, 2), np.arange(20))
    dataset = rows.map(batch=lambda batch: (batch[0] * 2, batch[1])).select(range(19, -1, -1))
    for arguments in ({}, {"num_workers": 2}):
        values, numbers = next(iter(Loader(dataset, batch_size=4, **arguments)))  # type: ignore[arg-type]
        assert (values[:, 0].tolist(), numbers.tolist()) == ([76, 72, 68, 64], [19, 18, 17, 16])
    assert rows.map(**{"0": lambda value: value}).map(batch=lambda batch: batch).get_batch is None  # type: ignore[attr-defined]


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
    st.sampled_from([np.dtype(np.uint8), np.dtype(">f4"), np.dtype(np.int64)]),
    st.data(),
)
def test_rows_in_pieces_are_gathered_as_from_one_array(
    sizes: list[int], dtype: np.dtype[Any], data: st.DataObject
) -> None:
    whole = np.arange(sum(sizes) * 6).reshape(-1, 3, 2).astype(dtype)
    pieces = [piece.copy() for piece in np.split(whole, np.cumsum(sizes)[:-1])]
    rows = PieceRows.of(pieces)
    assert len(rows) == len(whole)
    if len(whole):
        indices = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=20))
        gathered = rows.gather(np.array(indices, np.int64))
        assert gathered.dtype == dtype
        np.testing.assert_array_equal(gathered, whole[indices])
    for bad in (len(whole), -1, 1 << 62, -(1 << 62)):
        with pytest.raises(IndexError, match=f"index {bad} is out of range for {len(whole)} samples"):
            rows.gather(np.array([bad], np.int64))


def test_batches_are_private_memory() -> None:
    tensor = torch.zeros(8, 3)
    for source in (TensorDataset(tensor), Arrays(tensor), Arrays(tensor.numpy())):
        for batch in Loader(source, batch_size=4):
            (batch[0] if isinstance(batch, list) else batch).fill_(1)
        sample = source[0]
        if isinstance(source, Arrays):
            sample.fill_(1)
    assert not tensor.any()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_array_files(tmp_path: Path, suffix: str) -> None:
    rows = np.arange(60, dtype=np.float32).reshape(20, 3)
    path = tmp_path / f"rows{suffix}"
    np.save(path, rows) if suffix == ".npy" else np.savez(path, rows=rows, label=np.arange(20))
    dataset = stoker.open(path)
    loader = Loader(dataset, batch_size=4, shuffle=True, seed=1)
    with_workers = Loader(dataset, batch_size=4, shuffle=True, seed=1, num_workers=2, executor="process")
    assert [batch_hash(batch) for batch in loader] == [batch_hash(batch) for batch in with_workers]
    by_sample = [default_collate([dataset[int(i)] for i in range(4)])]
    assert batch_hash(next(iter(Loader(dataset, batch_size=4)))) == batch_hash(by_sample[0])


def test_pickled_arrays_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(stoker.DataError, match="cannot read"):
        stoker.open(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ((), "Arrays needs at least one array"),
        ((np.zeros(3), np.zeros(4)), "all arrays must have one length; got 0: 3, 1: 4"),
        (([1, 2],), "column '0' must be a CPU tensor or a NumPy array of at least one dimension; got list"),
        ((np.array(["a"]),), "column '0' has dtype <U1, which torch does not have"),
    ],
)
def test_arrays_that_cannot_be_columns(arrays: Any, text: str) -> None:
    with pytest.raises((stoker.ArgumentError, stoker.TypeMismatchError), match=text):
        Arrays(*arrays)


def test_datasets_travel(folder: Path) -> None:
    for dataset in (
        stoker.open(folder),
        stoker.open(folder).map(image=Pipeline(CenterCrop(8))).select([1, 0]),
        Arrays(np.arange(4)),
    ):
        again = pickle.loads(pickle.dumps(dataset))
        assert batch_hash(again[0]) == batch_hash(dataset[0])
        assert again.fingerprint() == dataset.fingerprint()


def test_bytes_io_is_no_path() -> None:
    with pytest.raises(TypeError):
        stoker.open(io.BytesIO())  # type: ignore[arg-type]
