"""Images that are packed: the same pixels, the same batches, and what becomes of each file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import stoker
from stoker import Loader
from stoker.data import ImageFolder
from stoker.data.packed import Packed
from stoker.errors import ArgumentError, DataError
from stoker.image import EncodedImage, Normalize, Pipeline, RandomHorizontalFlip, RandomResizedCrop
from stoker.testing import epoch_hashes
from tests.image.pictures import encoded, jpeg, smooth
from tests.store.every_kind import Made, assert_same, files_of


def write_pictures(root: Path, count: int = 12) -> Path:
    """Class folders of JPEGs, progressive ones, grey ones, PNGs, one that is turned by its EXIF."""
    turned = Image.Exif()
    turned[0x0112] = 6
    for number in range(count):
        pixels = smooth(40 + 7 * number, 90 - 3 * number, number)
        data = [
            lambda pixels=pixels: ("jpg", jpeg(pixels)),
            lambda pixels=pixels: ("jpg", jpeg(pixels, "444", progressive=True)),
            lambda pixels=pixels: ("jpg", encoded(Image.fromarray(pixels).convert("L"), "JPEG")),
            lambda pixels=pixels: ("png", encoded(pixels, "PNG")),
            lambda pixels=pixels: ("jpg", jpeg(pixels, "422", exif=turned.tobytes())),
        ][number % 5]
        ending, content = data()
        folder = root / "cba"[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:03d}.{ending}").write_bytes(content)
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures")


def crops(dataset: Any) -> Any:
    return dataset.map(image=Pipeline(RandomResizedCrop(32), RandomHorizontalFlip()))


def assert_equal_batches(one: Any, other: Any, num_epochs: int = 2) -> None:
    loaders = [Loader(crops(dataset), batch_size=8, shuffle=True, seed=3, num_workers=2) for dataset in (one, other)]
    for _ in range(num_epochs):
        assert epoch_hashes(loaders[0]) == epoch_hashes(loaders[1])


def test_a_packed_folder_gives_the_folder_s_batches(folder: Path, tmp_path: Path) -> None:
    summary = stoker.pack(folder, tmp_path / "a", num_workers=0, shard_bytes=20_000)
    assert summary.images == {"tiled without loss": 10, "kept as it was: no JPEG": 2}
    assert_equal_batches(stoker.open(folder), stoker.open(tmp_path / "a"))


def test_a_packed_folder_has_the_folder_s_pixels_labels_names_and_classes(folder: Path, tmp_path: Path) -> None:
    stoker.pack(folder, tmp_path / "a", num_workers=0)
    ours, theirs = Packed(tmp_path / "a", check=True), ImageFolder(folder)
    assert (ours.columns, ours.classes, len(ours)) == (("image", "label"), ["a", "b", "c"], 12)
    for index in range(12):
        assert_same(ours[index], theirs[index])
        assert ours.sample_name(index) == theirs.sample_name(index)


@pytest.mark.parametrize("count", [40, pytest.param(700, marks=pytest.mark.slow)])
def test_photographs_give_their_folder_s_batches(count: int, photos: Path, tmp_path: Path) -> None:
    source = stoker.open(photos).select(np.linspace(0, 699, count).astype(int))
    stoker.pack(source, tmp_path / "a", num_workers=2)
    assert_equal_batches(source, stoker.open(tmp_path / "a"), num_epochs=1)
    assert stoker.verify(tmp_path / "a") == []


def test_raw_pixels_are_those_of_the_files(folder: Path, tmp_path: Path) -> None:
    summary = stoker.pack(folder, tmp_path / "a", num_workers=0, images="raw")
    assert summary.images == {"stored as pixels": 12}
    store, source = stoker.open(tmp_path / "a"), ImageFolder(folder)
    assert_same([store[index] for index in range(12)], [source[index] for index in range(12)])
    image = store[0][0]
    image.fill_(0)  # it is private
    assert store[0][0].any()


def test_images_may_be_encoded_anew_and_reduced(folder: Path, tmp_path: Path) -> None:
    summary = stoker.pack(folder, tmp_path / "a", num_workers=0, images="jpeg", max_side=48, quality=95)
    assert summary.images == {"encoded anew as JPEG": 12}
    store, source = Packed(tmp_path / "a"), ImageFolder(folder)
    for index in range(12):
        (ours, _), (theirs, _) = store[index], source[index]
        height, width = theirs.shape[1:]
        scale = min(1, 48 / max(height, width))
        assert ours.shape[1:] == (round(height * scale), round(width * scale))
        expected = torch.nn.functional.interpolate(
            theirs[None].float(), ours.shape[1:], mode="bilinear", antialias=True
        )
        assert (ours - expected[0]).abs().mean() < 12  # JPEG's own error on noise


def test_only_what_is_too_large_is_encoded_anew(folder: Path, tmp_path: Path) -> None:
    summary = stoker.pack(folder, tmp_path / "a", num_workers=0, max_side=80)
    assert sum(summary.images.values()) == 12
    assert 0 < summary.images["encoded anew as JPEG"] < 12
    assert max(max(image.shape) for image, _ in Packed(tmp_path / "a")) == 80


def test_pictures_in_memory_come_back_as_they_are_seen_there(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    path = tmp_path / "turned.jpg"
    path.write_bytes(jpeg(smooth(20, 30), exif=turned.tobytes()))
    base = Image.fromarray(smooth(20, 30))
    pictures = [Image.open(path), *(base.convert(mode) for mode in ("L", "RGBA", "CMYK", "P", "1", "YCbCr", "LAB"))]
    stoker.pack(Made(lambda index: (pictures[index], index), len(pictures)), tmp_path / "a", num_workers=0)
    store = Packed(tmp_path / "a")
    for index, picture in enumerate(pictures):
        expected = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
        assert_same(store[index][0], expected.contiguous())


def test_a_transform_gets_pil_images_and_is_applied_once(folder: Path, tmp_path: Path) -> None:
    def shrink(sample: Any) -> Any:
        image, label = sample
        assert isinstance(image, Image.Image)
        return {"small": image.resize((8, 6)), "label": label}

    stoker.pack(folder, tmp_path / "a", num_workers=0, transform=shrink, images="raw")
    store, source = Packed(tmp_path / "a"), ImageFolder(folder)
    for index in range(12):
        image = Image.fromarray(source[index][0].permute(1, 2, 0).numpy()).resize((8, 6))
        expected = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        assert_same(store[index], {"small": expected, "label": source[index][1]})


def test_a_pipeline_maps_a_column_before_it_is_packed(folder: Path, tmp_path: Path) -> None:
    source = ImageFolder(folder).map(image=Pipeline(RandomResizedCrop(16), Normalize([0.5] * 3, [0.5] * 3)))
    stoker.pack(source, tmp_path / "a", num_workers=0, augment=2, seed=1)
    stoker.pack(source, tmp_path / "b", num_workers=2, augment=2, seed=1)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    store = Packed(tmp_path / "a")
    assert store.stored_columns[0].shape == (3, 16, 16)


# Errors


def test_a_damaged_image_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "b" / "001.jpg").write_bytes(b"no image")
    text = rf"cannot pack sample 4 \({folder}/b/001\.jpg\): ImageError: "
    for workers in (0, 2):
        with pytest.raises(DataError, match=text):
            stoker.pack(folder, tmp_path / "a", num_workers=workers)
    assert not (tmp_path / "a").exists()


def test_damaged_images_are_left_out_and_named_where_that_was_asked_for(folder: Path, tmp_path: Path) -> None:
    (folder / "b" / "001.jpg").write_bytes(b"no image")
    for workers in (0, 2):
        summary = stoker.pack(folder, tmp_path / str(workers), num_workers=workers, on_error="skip", shard_bytes=10_000)
        (entry,) = summary.quarantine
        assert (entry["index"], entry["name"]) == (4, "b/001.jpg")
        assert entry["error"].startswith("ImageError: ")
        assert str(summary).splitlines()[-1] == "1 samples were left out; the manifest's quarantine names them"
    store = Packed(tmp_path / "0")
    assert [store.sample_name(index) for index in range(11)] == [
        ImageFolder(folder).sample_name(index) for index in range(12) if index != 4
    ]
    assert files_of(tmp_path / "0") == files_of(tmp_path / "2")


def test_nothing_that_can_be_packed_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.jpg").write_bytes(b"no image")
    with pytest.raises(
        DataError, match=r"not one of 1 samples .* could be packed; pack with on_error='raise' to see why\."
    ):
        stoker.pack(tmp_path / "pictures", tmp_path / "a", num_workers=0, on_error="skip")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"images": "png"}, r"images must be 'keep', 'jpeg' or 'raw'; got 'png'\."),
        ({"max_side": 0}, r"max_side must be a whole number between 1 and 65,535; got 0\."),
        ({"quality": 101}, r"quality must be a whole number between 1 and 100; got 101\."),
        ({"augment": True}, r"augment must be a whole number between 1 and 1,048,576; got True\."),
        ({"transform": 3}, r"transform must be a function of a sample; got 3\."),
        ({"on_error": "ignore"}, r"on_error must be 'raise' or 'skip'; got 'ignore'\."),
        ({"num_workers": -1}, r"num_workers must be 'auto' or a whole number from 0 on; got -1\."),
        ({"num_workers": "many"}, r"num_workers must be 'auto' or a whole number from 0 on; got 'many'\."),
    ],
)
def test_an_argument_that_breaks_a_rule_is_refused(options: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=text):
        stoker.pack(Made(lambda index: index, 3), tmp_path / "a", **options)
    assert list(tmp_path.iterdir()) == []


def test_the_encoded_image_of_a_store_names_its_place(folder: Path, tmp_path: Path) -> None:
    stoker.pack(folder, tmp_path / "a", num_workers=0)
    image, _ = Packed(tmp_path / "a").read(4)
    assert isinstance(image, EncodedImage)
    assert image.path == f"{tmp_path / 'a'}[b/001.jpg]"
