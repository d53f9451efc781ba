"""Pipelines: what they accept, where their parameters come from, and foreign code in them."""

from __future__ import annotations

import pickle
import random
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from PIL import Image

from stoker.errors import ArgumentError, TypeMismatchError
from stoker.image import (
    CenterCrop,
    EncodedImage,
    Normalize,
    Pipeline,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    ToFloat,
)
from stoker.image.view import View
from stoker.order.keys import KeyedRandom, set_current_key
from tests.image.pictures import encoded, jpeg, smooth

PICTURE = smooth(120, 160)
LOSSLESS = encoded(PICTURE, "PNG")


@pytest.fixture(autouse=True)
def _no_key() -> Any:
    yield
    set_current_key(None)


def keyed(pipeline: Pipeline, image: Any, key: int) -> torch.Tensor:
    set_current_key(key)
    return pipeline(image)


@pytest.mark.parametrize(
    "image",
    [
        EncodedImage(LOSSLESS),
        LOSSLESS,
        Image.fromarray(PICTURE),
        PICTURE,
        torch.from_numpy(PICTURE).permute(2, 0, 1),
        torch.from_numpy(PICTURE).permute(2, 0, 1).contiguous(),
    ],
)
def test_every_kind_of_image_gives_the_same_pixels(image: Any) -> None:
    pipeline = Pipeline(RandomResizedCrop(64), RandomHorizontalFlip(), RandomVerticalFlip())
    assert torch.equal(keyed(pipeline, image, 5), keyed(pipeline, PICTURE, 5))
    assert keyed(pipeline, image, 5).shape == (3, 64, 64)


@pytest.mark.parametrize("image", [None, 3, "cat.jpg", np.zeros(5), torch.zeros(2, 2)])
def test_anything_else_is_refused_with_what_it_is(image: Any) -> None:
    with pytest.raises(
        TypeMismatchError, match=r"an image must be an EncodedImage, the bytes of a file, a PIL image.*got "
    ):
        Pipeline(Resize(8))(image)


def test_the_key_decides() -> None:
    pipeline = Pipeline(RandomResizedCrop(32), RandomHorizontalFlip())
    assert torch.equal(keyed(pipeline, PICTURE, 1), keyed(pipeline, PICTURE, 1))
    assert len({keyed(pipeline, PICTURE, key).numpy().tobytes() for key in range(20)}) == 20


def test_outside_a_loader_torch_s_seed_decides() -> None:
    pipeline = Pipeline(RandomResizedCrop(32))
    torch.manual_seed(3)
    first = pipeline(PICTURE)
    assert not torch.equal(first, pipeline(PICTURE))
    torch.manual_seed(3)
    assert torch.equal(first, pipeline(PICTURE))


def test_layouts_and_memory_of_one_s_own() -> None:
    chw, hwc = Pipeline(CenterCrop(20)), Pipeline(CenterCrop(20), layout="hwc")
    assert torch.equal(chw(PICTURE).permute(1, 2, 0), hwc(PICTURE))
    for pipeline in (chw, hwc, Pipeline(), Pipeline(layout="hwc")):
        source = PICTURE.copy()
        result = pipeline(source)
        assert result.is_contiguous()
        assert result.untyped_storage().nbytes() == result.nbytes
        result.fill_(0)
        assert np.array_equal(source, PICTURE), "the result shares the image's memory"


def test_writing_into_a_row() -> None:
    rows = np.zeros((4, 3, 32, 32), np.uint8)
    pipeline = Pipeline(Resize((32, 32)))
    pipeline(PICTURE, out=rows[2])
    assert np.array_equal(rows[2], pipeline(PICTURE).numpy())
    assert not rows[[0, 1, 3]].any()
    with pytest.raises(
        TypeMismatchError, match=r"out must be torch.uint8 \(3, 32, 32\); got torch.uint8 \(4, 3, 32, 32\)"
    ):
        pipeline(PICTURE, out=rows)


def test_floats_only_where_asked_for() -> None:
    assert Pipeline(Resize(8))(PICTURE).dtype is torch.uint8
    scaled = Pipeline(ToFloat())(PICTURE)
    assert torch.allclose(scaled, torch.from_numpy(PICTURE).permute(2, 0, 1) / 255)
    normalised = Pipeline(Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]))(PICTURE)
    expected = (scaled - torch.tensor([0.5, 0.4, 0.3])[:, None, None]) / torch.tensor([0.2, 0.3, 0.4])[:, None, None]
    assert torch.allclose(normalised, expected)
    assert torch.equal(Pipeline(ToFloat(), Normalize([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]))(PICTURE), normalised)


# Geometry


def test_the_drawn_crop_is_the_one_that_is_resized() -> None:
    for key in range(20):
        box = RandomResizedCrop(40).draw(120, 160, KeyedRandom(key))
        view = RandomResizedCrop(40).apply(View.of(EncodedImage(LOSSLESS)), KeyedRandom(key))
        cropped = Image.fromarray(PICTURE[box.top : box.bottom, box.left : box.left + box.width])
        pillow = np.asarray(cropped.resize((40, 40), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        assert np.abs(view.pixels().numpy().astype(int) - pillow).max() <= 1


def test_random_crops_are_distributed_as_torchvision_s() -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    torch.manual_seed(0)
    image = torch.zeros(3, 375, 500)
    theirs = np.array(
        [transforms.RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)], float
    )
    boxes = [RandomResizedCrop(224).draw(375, 500, KeyedRandom(key)) for key in range(4000)]
    ours = np.array([(box.top, box.left, box.height, box.width) for box in boxes], float)
    for column in range(4):
        statistic = np.abs(
            np.searchsorted(np.sort(ours[:, column]), np.sort(theirs[:, column])) / 4000 - np.arange(1, 4001) / 4000
        ).max()
        assert statistic < 0.045, (
            "Kolmogorov and Smirnov: other distributions"
        )  # quantile 0.999 for two samples of 4,000


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (224, 224), (37, 500), (500, 37)])
@pytest.mark.parametrize("transform", ["Resize-64", "Resize-64-max", "Resize-pair", "CenterCrop", "CenterCrop-padded"])
def test_sizes_are_torchvision_s(size: tuple[int, int], transform: str) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    arguments: dict[str, tuple[Any, dict[str, Any]]] = {
        "Resize-64": (Resize, {"size": 64}),
        "Resize-64-max": (Resize, {"size": 64, "max_size": 80}),
        "Resize-pair": (Resize, {"size": (30, 50)}),
        "CenterCrop": (CenterCrop, {"size": 30}),
        "CenterCrop-padded": (CenterCrop, {"size": (301, 301)}),
    }
    own, options = arguments[transform]
    pixels = smooth(*size)
    theirs = np.asarray(getattr(transforms, own.__name__)(**options)(Image.fromarray(pixels))).transpose(2, 0, 1)
    ours = Pipeline(own(**options))(pixels).numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("op", [RandomHorizontalFlip, RandomVerticalFlip])
def test_flips_happen_as_often_as_asked_for(op: Any) -> None:
    flipped = [
        not torch.equal(keyed(Pipeline(op(0.3)), PICTURE[:6, :6], key), keyed(Pipeline(), PICTURE[:6, :6], key))
        for key in range(1000)
    ]
    assert 230 < sum(flipped) < 370
    assert torch.equal(Pipeline(op(1.0), op(1.0))(PICTURE), Pipeline()(PICTURE))


def test_operations_run_in_the_order_they_are_written() -> None:
    ops = [RandomHorizontalFlip(1.0), CenterCrop((50, 60)), Resize((20, 30)), RandomVerticalFlip(1.0), CenterCrop(16)]
    step_by_step: Any = PICTURE
    for op in ops:
        step_by_step = Pipeline(op)(step_by_step)
    assert torch.equal(Pipeline(*ops)(PICTURE), step_by_step)


# Foreign code


def test_a_callable_gets_a_pil_image_and_may_return_anything_that_is_one() -> None:
    seen: list[Any] = []

    def to(kind: Any) -> Any:
        def function(image: Any) -> Any:
            seen.append(type(image))
            return kind(image)

        return function

    results = [
        Pipeline(Resize((30, 40)), to(kind), CenterCrop(20))(PICTURE)
        for kind in (lambda image: image, np.asarray, lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1))
    ]
    assert all(issubclass(kind, Image.Image) for kind in seen)
    assert all(torch.equal(result, results[0]) for result in results)


def test_what_a_callable_returns_wrongly_is_named() -> None:
    def broken(image: Any) -> Any:
        return "not an image"

    with pytest.raises(TypeMismatchError, match="broken must return a PIL image, an array or a tensor; got str"):
        Pipeline(broken)(PICTURE)


def test_torchvision_objects_work_unchanged() -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    pipeline = Pipeline(
        Resize((32, 32)),
        transforms.ColorJitter(0.4, 0.4),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.2] * 3),
    )
    result = pipeline(PICTURE)
    assert (result.shape, result.dtype) == ((3, 32, 32), torch.float32)
    composed = Pipeline(transforms.Compose([transforms.RandomCrop(20), transforms.PILToTensor()]))
    assert composed(PICTURE).shape == (3, 20, 20)


def test_albumentations_objects_work_unchanged() -> None:
    albumentations = pytest.importorskip("albumentations")
    for op in (albumentations.HorizontalFlip(p=1.0), albumentations.Compose([albumentations.HorizontalFlip(p=1.0)])):
        assert torch.equal(Pipeline(op)(PICTURE), Pipeline(RandomHorizontalFlip(1.0))(PICTURE))


def test_foreign_code_is_known_to_be_foreign() -> None:
    own = Pipeline(RandomResizedCrop(8), Normalize([0.5] * 3, [0.5] * 3))
    assert not own.draws_randomness
    assert Pipeline(lambda image: image).draws_randomness
    assert [
        place for _, place in Pipeline(RandomResizedCrop(8), RandomHorizontalFlip(), abs, CenterCrop(4)).describe()
    ] == ["decode", "decode", "sample", "sample"]


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_pipelines_travel(dumps: Any) -> None:
    pipeline = Pipeline(
        RandomResizedCrop(32), RandomHorizontalFlip(), ToFloat(), Normalize([0.5] * 3, [0.5] * 3), layout="hwc"
    )
    assert torch.equal(keyed(pickle.loads(dumps(pipeline)), PICTURE, 3), keyed(pipeline, PICTURE, 3))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: RandomResizedCrop(0), r"size must be a number of pixels of at least 1, or \(height, width\); got 0"),
        (lambda: RandomResizedCrop(8, scale=(0, 1)), r"scale must be \(low, high\) with 0 < low <= high; got \(0, 1\)"),
        (lambda: Resize((1, 2, 3)), r"size must be a number of pixels.*got \(1, 2, 3\)"),
        (
            lambda: Resize(10, max_size=5),
            "max_size goes with a size that is one number, and is at least that; got size=10, max_size=5",
        ),
        (lambda: RandomHorizontalFlip(1.5), "p must be a probability between 0 and 1; got 1.5"),
        (lambda: Normalize([0.5], [0.5, 0.5]), "mean and std must have one number for each channel; got 1 and 2"),
        (lambda: Normalize([0.5], [0.0]), r"std must be positive; got \[0.0\]"),
        (lambda: ToFloat(torch.int32), "dtype must be a floating-point type; got torch.int32"),
        (lambda: Pipeline(Resize), r"an operation must be an object; got the class Resize. Write Resize\(...\)"),
        (lambda: Pipeline("flip"), "an operation must be one of stoker.image's or a callable; got 'flip'"),
        (lambda: Pipeline(layout="nchw"), "layout must be 'chw' or 'hwc'; got 'nchw'"),
    ],
)
def test_mistakes_are_told_at_once(make: Any, text: str) -> None:
    with pytest.raises((ArgumentError, TypeMismatchError), match=text):
        make()


def test_an_operation_on_the_wrong_channels_is_refused() -> None:
    with pytest.raises(TypeMismatchError, match=r"Normalize has 1 channels; got pixels of shape \(3, 120, 160\)"):
        Pipeline(Normalize([0.5], [0.5]))(PICTURE)


def test_global_generators_are_left_alone() -> None:
    set_current_key(1)
    before = random.getstate(), torch.get_rng_state().numpy().tobytes()
    Pipeline(RandomResizedCrop(8), RandomHorizontalFlip())(jpeg(PICTURE))
    assert before == (random.getstate(), torch.get_rng_state().numpy().tobytes())
