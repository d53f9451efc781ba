"""Hugging Face's datasets."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

import stoker
from stoker import Loader
from stoker.data import HuggingFace
from stoker.data.bulk import bulk_reader
from stoker.data.optional import require
from stoker.image import CenterCrop, EncodedImage, Pipeline
from stoker.testing import batch_hash
from tests.data.source_checks import check_loaders, check_source
from tests.image.pictures import encoded, smooth
from tests.leaks import Holdings

ROWS = 10
FEATURES = datasets.Features({
    "image": datasets.Image(),
    "label": datasets.ClassLabel(names=["cat", "dog"]),
    "text": datasets.Value("string"),
    "score": datasets.Value("float32"),
    "vector": datasets.Sequence(datasets.Value("int16"), length=3),
    "ragged": datasets.Sequence(datasets.Value("int64")),
    "matrix": datasets.Array2D((2, 3), "float32"),
    "nested": {"word": datasets.Value("string"), "boxes": [[datasets.Value("int64")]]},
})  # fmt: skip
BULK = ["label", "text", "score", "vector"]


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    datasets.disable_progress_bars()


@pytest.fixture
def made() -> datasets.Dataset:
    return datasets.Dataset.from_dict(
        {
            "image": [{"bytes": encoded(smooth(6, 7, i), "PNG"), "path": f"{i}.png"} for i in range(ROWS)],
            "label": [i % 2 for i in range(ROWS)],
            "text": [f"ñ{i}" for i in range(ROWS)],
            "score": [i / 4 for i in range(ROWS)],
            "vector": [[i, 1, 2] for i in range(ROWS)],
            "ragged": [[7] * i for i in range(ROWS)],
            "matrix": [[[i, 1, 2], [3, 4, 5]] for i in range(ROWS)],
            "nested": [{"word": "w", "boxes": [[i], []]} for i in range(ROWS)],
        },
        features=FEATURES,
    )


@pytest.fixture
def saved(made: datasets.Dataset, tmp_path: Path) -> Path:
    made.save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def test_features_become_columns(saved: Path) -> None:
    dataset = stoker.open(saved)
    assert isinstance(dataset, HuggingFace)
    assert (len(dataset), dataset.columns, dataset.classes) == (ROWS, tuple(FEATURES), ["cat", "dog"])
    image, label, text, score, vector, ragged, matrix, nested = dataset[3]
    assert (tuple(image.shape), image.dtype) == ((3, 6, 7), torch.uint8)
    assert (label, type(label), text) == (1, int, "ñ3")
    assert (score.dtype, score.item()) == (torch.float32, 0.75)
    assert (vector.dtype, vector.tolist()) == (torch.int16, [3, 1, 2])
    assert (ragged.dtype, ragged.tolist()) == (torch.int64, [7, 7, 7])
    assert (matrix.dtype, matrix.tolist()) == (torch.float32, [[3, 1, 2], [3, 4, 5]])
    assert nested == {"word": "w", "boxes": [[3], []]}
    assert isinstance(dataset.read(3)[0], EncodedImage)
    assert dataset.sample_path(3) == str(saved)


def test_it_is_read_alike_in_every_way(saved: Path, made: datasets.Dataset, no_leaks: Holdings) -> None:
    check_source(HuggingFace(saved), nested=True)
    for source in (saved, made):
        assert HuggingFace(source).get_batch is None
        assert HuggingFace(source, BULK).get_batch is not None
        check_source(HuggingFace(source, BULK))
        check_loaders(HuggingFace(source, BULK))
    check_loaders(HuggingFace(saved, ["image", "label"]).map(image=Pipeline(CenterCrop(4))))


def test_rows_that_were_chosen_and_shuffled(made: datasets.Dataset) -> None:
    dataset = HuggingFace(made.shuffle(seed=3).select(range(4)), ["text", "score"])
    expected = [f"ñ{int(score * 4)}" for score in made.shuffle(seed=3).select(range(4))["score"]]
    assert [dataset[index][0] for index in range(4)] == expected
    check_source(dataset)
    together = HuggingFace(datasets.concatenate_datasets([made, made]), BULK)
    assert together[ROWS + 2][1] == "ñ2"
    check_source(together)


def test_a_folder_travels_by_its_path(saved: Path) -> None:
    assert len(pickle.dumps(HuggingFace(saved))) < 5000


def test_images_in_files(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encoded(smooth(4, 5), "PNG"))
    paths = [str(tmp_path / "x.png"), str(tmp_path / "gone.png")]
    dataset = HuggingFace(datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image()))
    assert tuple(dataset[0].shape) == (3, 4, 5)
    with pytest.raises(
        stoker.DataError, match=r"column 'image' names the file .*gone\.png, which cannot be read .*row 1"
    ):
        dataset[1]


# What cannot be read


def test_several_splits_are_named(made: datasets.Dataset, tmp_path: Path) -> None:
    splits = datasets.DatasetDict(train=made, test=made)
    splits.save_to_disk(str(tmp_path / "splits"))
    with pytest.raises(
        stoker.DataError, match=r"holds several splits: train, test\. Give one of them: .*splits/train\."
    ):
        stoker.open(tmp_path / "splits")
    assert len(stoker.open(tmp_path / "splits/test")) == ROWS
    with pytest.raises(stoker.TypeMismatchError, match=r"a DatasetDict holds several splits: train, test\. Give one"):
        HuggingFace(splits)


def test_what_is_no_dataset(made: datasets.Dataset) -> None:
    with pytest.raises(
        stoker.TypeMismatchError, match=r"got IterableDataset\. An IterableDataset can be given to Loader as it is"
    ):
        HuggingFace(made.to_iterable_dataset())
    with pytest.raises(
        stoker.ArgumentError, match="the dataset has a transform, which reading through Arrow would leave out"
    ):
        HuggingFace(made.with_transform(lambda rows: rows))
    with pytest.raises(FileNotFoundError, match="there is no folder at /no/such/folder"):
        HuggingFace("/no/such/folder")
    with pytest.raises(stoker.ArgumentError, match=r"columns must be of those of the dataset, image, .*; got picture"):
        HuggingFace(made, ["picture"])


def test_a_damaged_folder_is_named(saved: Path) -> None:
    (saved / "state.json").write_text("{")
    with pytest.raises(stoker.DataError, match=r"cannot read .*saved as a folder of save_to_disk: "):
        stoker.open(saved)


@pytest.mark.parametrize(
    "feature", [datasets.Value("timestamp[s]"), datasets.Value("date32"), [datasets.Value("date32")]]
)
def test_types_that_no_value_stands_for(feature: Any) -> None:
    dataset = datasets.Dataset.from_dict(
        {"x": [None], "y": [1]}, features=datasets.Features(x=feature, y=datasets.Value("int8"))
    )
    with pytest.raises(
        stoker.TypeMismatchError, match=r"column 'x' is of a type that no plain value stands for: .*columns="
    ):
        HuggingFace(dataset)
    assert HuggingFace(dataset, ["y"])[0].item() == 1


def test_nulls_are_named() -> None:
    dataset = HuggingFace(datasets.Dataset.from_dict({"x": [1, None, 3]}).select([2, 1]))
    assert dataset[0].item() == 3
    with pytest.raises(stoker.DataError, match=r"column 'x' is null; .*: in row 1"):
        dataset[1]
    assert dataset.get_batch is not None
    with pytest.raises(stoker.DataError, match=r"column 'x' is null; .*: in row 1"):
        dataset.get_batch(np.array([0, 0, 1]))


def test_without_the_library_the_extra_is_named(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require.cache_clear()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(stoker.MissingPackageError, match=r"datasets is not installed.*pip install 'stoker\[hf\]'"):
        stoker.open(saved)


# Datasets that are given to a loader as they are

SIMPLE: dict[str, Any] = {
    "small": np.arange(20, dtype=np.int8),
    "double": np.arange(20) / 3,
    "flag": np.arange(20) % 3 == 0,
    "text": [f"ñ{i}" for i in range(20)],
    "ids": np.arange(60, dtype=np.uint16).reshape(20, 3),
    "matrix": np.arange(120, dtype=np.float32).reshape(20, 2, 3),
}


def simple() -> dict[str, datasets.Dataset]:
    """As made, in several pieces, selected from and shuffled."""
    whole = datasets.Dataset.from_dict(SIMPLE)
    pieces = datasets.concatenate_datasets([whole.select(range(7)), whole.select(range(7, 20))])
    return {"whole": whole, "pieces": pieces, "shuffled": pieces.shuffle(seed=1).select(range(3, 17))}


@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_formatted_datasets_are_read_in_bulk_as_their_samples_collate(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dataset in (made.with_format(kind) for made in simple().values()):
        get_batch = bulk_reader(dataset, True)
        assert get_batch is not None
        indices = [3, 0, 0, 13]
        expected = default_collate(dataset.__getitems__(indices))
        get_batch(np.array([0]))
        with monkeypatch.context() as patch:  # from now on no sample is made
            patch.setattr(datasets.Dataset, "__getitems__", None)
            batch = get_batch(np.array(indices))
        assert list(batch) == list(expected)
        assert batch_hash(batch) == batch_hash(expected)
        assert {name: type(value) for name, value in batch.items()} == {n: type(v) for n, v in expected.items()}
        check_private_batches(get_batch)
        for bad in (-1, len(dataset)):  # the library takes no lists that count from the end either
            with pytest.raises(IndexError):
                get_batch(np.array([0, bad]))


def check_private_batches(get_batch: Any) -> None:
    before = batch_hash(get_batch(np.array([0, 1])))
    for value in get_batch(np.array([0, 1])).values():
        if isinstance(value, torch.Tensor):
            value.zero_()
    assert batch_hash(get_batch(np.array([0, 1]))) == before


def test_loaders_give_what_torch_gives_for_formatted_datasets() -> None:
    dataset = simple()["shuffled"].with_format("torch")
    expected = [batch_hash(batch) for batch in torch.utils.data.DataLoader(dataset, batch_size=4)]
    assert [batch_hash(batch) for batch in Loader(dataset, batch_size=4, num_workers=2)] == expected
    assert "in bulk" in Loader(dataset, num_workers=2).explain()


@pytest.mark.parametrize(
    "column", [[[1], [2, 3]] * 3, [1, None] * 3, [[1, 2], [3, None]] * 3, [[[1], [2, 3]], [[4], [5, 6]]] * 3]
)
def test_what_is_not_uniform_is_left_to_collate(column: Any) -> None:
    dataset = datasets.Dataset.from_dict({"x": column}).with_format("torch")
    get_batch = bulk_reader(dataset, True)
    assert get_batch is not None
    for indices in ([0, 2], [0, 1]):
        try:
            expected = batch_hash(default_collate(dataset.__getitems__(indices)))
        except (RuntimeError, TypeError) as error:
            with pytest.raises(type(error)):
                get_batch(np.array(indices))
        else:
            assert batch_hash(get_batch(np.array(indices))) == expected


def test_other_formats_keep_the_library_s_own_way(made: datasets.Dataset) -> None:
    dataset = datasets.Dataset.from_dict(SIMPLE)
    assert bulk_reader(dataset, True) is None
    assert bulk_reader(dataset.with_format("torch", columns=["ids"], output_all_columns=True), True) is None
    assert bulk_reader(dataset.with_transform(lambda batch: batch), True) is None
    assert bulk_reader(made.with_format("torch"), True) is None  # images have to be decoded
    only = bulk_reader(dataset.with_format("torch", columns=["ids"]), True)
    assert only is not None
    assert list(only(np.array([1]))) == ["ids"]
