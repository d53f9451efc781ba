"""Joint transforms: the image is the Pipeline's, and masks, boxes and points go where its pixels go."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import stoker
from stoker.errors import ArgumentError, TypeMismatchError
from stoker.image import (
    CenterCrop,
    Joint,
    Normalize,
    Pipeline,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
)
from stoker.image.decode import Box
from stoker.image.frame import Frame
from stoker.order.keys import KeyedRandom, derive, set_current_key
from tests.image.pictures import encoded, smooth

HEIGHT, WIDTH = 60, 80
PICTURE = smooth(HEIGHT, WIDTH)
MASK = np.arange(HEIGHT * WIDTH, dtype=np.int32).reshape(HEIGHT, WIDTH)  # every pixel tells where it comes from
OPS: dict[str, tuple[Any, ...]] = {
    "crop and flip": (RandomResizedCrop(32), RandomHorizontalFlip()),
    "both flips": (RandomHorizontalFlip(1), RandomVerticalFlip(1)),
    "enlarged": (RandomResizedCrop((90, 70)), RandomVerticalFlip()),
    "resized, then cropped": (Resize(40), CenterCrop(36), RandomHorizontalFlip()),
    "padded": (CenterCrop((70, 50)), RandomHorizontalFlip(), Resize((33, 21))),
    "crops of crops": (RandomResizedCrop(50), RandomHorizontalFlip(), RandomResizedCrop(20)),
    "with pixels": (RandomResizedCrop(32), Normalize([0.5] * 3, [0.2] * 3)),
}


@pytest.fixture(autouse=True)
def _no_key() -> Any:
    yield
    set_current_key(None)


def keyed(joint: Any, key: int, **columns: Any) -> dict[str, Any]:
    set_current_key(key)
    return joint(**columns)


def pillow_steps(ops: tuple[Any, ...], key: int, mask: np.ndarray) -> np.ndarray:
    """The slow reference: every operation on its own, by Pillow, nearest pixels."""
    image = Image.fromarray(mask)
    for number, op in enumerate(ops):
        random, (width, height) = KeyedRandom(derive(key, number)), image.size
        if isinstance(op, RandomResizedCrop):
            box = op.draw(height, width, random)
            image = image.crop((box.left, box.top, box.left + box.width, box.bottom))
            image = image.resize(op.size[::-1], Image.Resampling.NEAREST)
        elif isinstance(op, Resize):
            size = op.size if isinstance(op.size, tuple) else _shorter_side(height, width, op.size)
            image = image.resize(size[::-1], Image.Resampling.NEAREST)
        elif isinstance(op, CenterCrop):
            image = _centre(image, *op.size)
        elif isinstance(op, RandomHorizontalFlip) and random.uniform() < op.p:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        elif isinstance(op, RandomVerticalFlip) and random.uniform() < op.p:
            image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return np.asarray(image)


def assert_nearly(mask: np.ndarray, reference: np.ndarray) -> None:
    """Equal, but where a new pixel's middle falls on the border of two: Pillow adds up floats, and may take the other one."""
    assert mask.shape == reference.shape
    rows, columns = (
        np.abs(part - other) for part, other in zip(divmod(mask, WIDTH), divmod(reference, WIDTH), strict=True)
    )
    assert max(rows.max(), columns.max()) <= 2  # two resizes in a row add up
    assert (mask != reference).mean() < 0.2


def _shorter_side(height: int, width: int, side: int) -> tuple[int, int]:
    return (side, int(side * width / height)) if height <= width else (int(side * height / width), side)


def _centre(image: Image.Image, height: int, width: int) -> Image.Image:
    rows, columns = max(0, height - image.height), max(0, width - image.width)
    padded = Image.new(image.mode, (image.width + columns, image.height + rows), 0)
    padded.paste(image, (columns // 2, rows // 2))
    top, left = round((padded.height - height) / 2), round((padded.width - width) / 2)
    return padded.crop((left, top, left + width, top + height))


@pytest.mark.parametrize("name", OPS)
def test_the_image_is_the_pipeline_s_and_the_mask_pillow_s(name: str) -> None:
    ops = OPS[name]
    joint, pipeline = Joint(*ops, mask="mask"), Pipeline(*ops)
    for key in range(12):
        result = keyed(joint, key, image=encoded(PICTURE, "PNG"), mask=MASK)
        set_current_key(key)
        assert torch.equal(result["image"], pipeline(PICTURE))
        assert_nearly(result["mask"].numpy(), pillow_steps(ops, key, MASK))


@pytest.mark.parametrize("name", OPS)
def test_a_point_goes_where_its_pixel_goes(name: str) -> None:
    """A point in the middle of the pixel that a mask shows at (row, column) lands in that pixel of the result."""
    joint = Joint(*OPS[name], mask="mask", keypoints="points")
    for key in range(12):
        plain = keyed(joint, key, image=PICTURE, mask=MASK + 1, points=[[0.0, 0.0]])["mask"]
        rows, columns = torch.nonzero(plain, as_tuple=True)
        origin = (plain[rows, columns] - 1).to(torch.float32)
        points = torch.stack((origin % WIDTH + 0.5, origin.div(WIDTH, rounding_mode="floor") + 0.5), -1)
        moved = keyed(joint, key, image=PICTURE, mask=MASK, points=points)["points"]
        height, width = plain.shape
        # A nearest pixel's middle may be up to half a source pixel away from where the middle of the new one looked.
        reach_x, reach_y = max(1.5, width / 20), max(1.5, height / 15)
        assert ((moved[:, 0] - columns - 0.5).abs() <= reach_x).all()
        assert ((moved[:, 1] - rows - 0.5).abs() <= reach_y).all()


STEPS = st.one_of(
    st.tuples(st.just("crop"), st.floats(0, 1), st.floats(0, 1), st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.just("resize"), st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.just("flip"), st.booleans(), st.booleans()),
    st.tuples(st.just("pad"), *[st.integers(0, 5)] * 4),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=5), st.integers(2, 40), st.integers(2, 40))
def test_any_steps_map_corners_and_points_as_a_step_by_step_reference_does(
    steps: list[Any], height: int, width: int
) -> None:
    frame = Frame.of((height, width))
    given_points = torch.tensor([[0.0, 0.0], [width, height], [width / 3, height / 2]], dtype=torch.float32)
    expected = given_points.double()
    for name, *arguments in steps:
        h, w = frame.size
        if name == "crop":
            box_h, box_w = min(h, arguments[2]), min(w, arguments[3])
            top, left = int(arguments[0] * (h - box_h)), int(arguments[1] * (w - box_w))
            frame = frame.cropped(Box(top, left, box_h, box_w))
            expected = expected - torch.tensor([left, top])
        elif name == "resize":
            frame = frame.resized(*arguments, antialias=True)
            expected = expected * torch.tensor([arguments[1] / w, arguments[0] / h], dtype=torch.float64)
        elif name == "flip":
            frame = frame.flipped(horizontally=arguments[0], vertically=arguments[1])
            if arguments[0]:
                expected[:, 0] = w - expected[:, 0]
            if arguments[1]:
                expected[:, 1] = h - expected[:, 1]
        else:
            top, bottom, left, right = arguments
            frame = frame.padded(top, bottom, left, right)
            expected = expected + torch.tensor([left, top])
    torch.testing.assert_close(frame.points(given_points).double(), expected, atol=1e-2, rtol=1e-4)
    boxes = frame.boxes(torch.cat((given_points[0], given_points[1]))[None])
    limits = torch.tensor([frame.size[1], frame.size[0]])
    low = torch.minimum(expected[0], expected[1]).clamp(min=0).minimum(limits)
    high = torch.maximum(expected[0], expected[1]).clamp(min=0).minimum(limits)
    torch.testing.assert_close(boxes[0].double(), torch.cat((low, high)).double(), atol=1e-2, rtol=1e-4)


def test_boxes_hold_what_they_held() -> None:
    """A bright rectangle in the picture is where its box says it is, after any geometry."""
    joint = Joint(RandomResizedCrop(64, scale=(0.5, 1.0)), RandomHorizontalFlip(), mask="mask", boxes="boxes")
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:40, 30:60] = 1
    for key in range(20):
        result = keyed(joint, key, image=PICTURE, mask=mask, boxes=[[30, 20, 60, 40]])
        rows, columns = np.nonzero(result["mask"].numpy())
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert result["boxes"].dtype is torch.float32
        assert np.abs(result["boxes"][0].numpy() - found).max() <= 1.0


def test_empty_boxes_go_with_all_that_belongs_to_them() -> None:
    keywords: dict[str, Any] = {"mask": "masks", "boxes": "boxes", "keypoints": "points"}
    columns = {
        "image": PICTURE,
        "masks": torch.zeros(3, HEIGHT, WIDTH, dtype=torch.bool),
        "boxes": np.array([[0, 0, 5, 5], [38, 28, 42, 33], [70, 50, 80, 60]]),
        "points": torch.tensor([[[2.0, 2.0, 2]], [[40.0, 30.0, 1]], [[75.0, 55.0, 2]]]),
        "labels": ["left", "middle", "right"],
        "areas": np.array([25, 20, 100]),
    }
    kept = Joint(CenterCrop(20), **keywords)(**columns)
    assert kept["boxes"].tolist() == [[0, 0, 0, 0], [8, 8, 12, 13], [20, 20, 20, 20]]
    assert kept["points"].tolist() == [[[0, 0, 0]], [[10, 10, 1]], [[0, 0, 0]]]
    assert kept["labels"] is columns["labels"]
    joint = Joint(CenterCrop(20), **keywords, per_box=("labels", "areas", "masks", "points"), drop_empty=True)
    dropped = joint(**columns)
    assert dropped["boxes"].tolist() == [[8, 8, 12, 13]]
    assert dropped["labels"] == ["middle"]
    assert dropped["areas"].tolist() == [20]
    assert dropped["masks"].shape == (1, 20, 20)
    assert dropped["points"].tolist() == [[[10, 10, 1]]]
    none = joint(image=PICTURE, boxes=[], labels=[], areas=[], masks=columns["masks"][:0], points=np.zeros((0, 1, 3)))
    assert none["boxes"].shape == (0, 4)


def test_left_and_right_change_places_in_a_mirror_only() -> None:
    points = [[10.0, 5.0, 2], [20.0, 5.0, 2], [0.0, 0.0, 0]]
    for ops, swaps in [((RandomHorizontalFlip(1),), True), ((RandomHorizontalFlip(1), RandomVerticalFlip(1)), False)]:
        moved = Joint(*ops, keypoints="points", swap_when_mirrored=[(0, 1)])(image=PICTURE, points=points)["points"]
        left, right = (1, 0) if swaps else (0, 1)
        assert moved[left, 0] == WIDTH - 10
        assert moved[right, 0] == WIDTH - 20
        assert moved[2].tolist() == [0, 0, 0], "a point that is not there stays so"


def test_a_mask_s_file_keeps_its_values() -> None:
    palette = Image.fromarray((MASK % 7).astype(np.uint8), "L").convert("P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    expected = np.array(palette)
    mask = Joint(RandomHorizontalFlip(0), mask="mask")(image=PICTURE, mask=encoded(palette, "PNG"))["mask"]
    assert np.array_equal(mask.numpy(), expected)
    padded = Joint(CenterCrop((HEIGHT, WIDTH + 2)), mask="mask", fill=255)(image=PICTURE, mask=expected)["mask"]
    assert (padded[:, 0] == 255).all()
    assert np.array_equal(padded[:, 1:-1].numpy(), expected)


def test_a_dataset_is_mapped_jointly_with_any_workers() -> None:
    count = 6
    source = stoker.data.Arrays(
        image=np.stack([smooth(HEIGHT, WIDTH, seed) for seed in range(count)]).transpose(0, 3, 1, 2).copy(),
        mask=np.stack([MASK + seed for seed in range(count)]),
        boxes=np.tile(np.array([[[1.0, 2, 30, 40]]]), (count, 1, 1)),
        label=np.arange(count),
    )
    ops = RandomResizedCrop(24), RandomHorizontalFlip()
    joint = source.map(joint=Joint(*ops, mask="mask", boxes="boxes"), label=lambda label: label + 100)
    alone = source.map(image=Pipeline(*ops))
    batches = [list(stoker.Loader(joint, 4, shuffle=True, seed=3, num_workers=workers)) for workers in (0, 2)]
    images = [batch[0] for batch in stoker.Loader(alone, 4, shuffle=True, seed=3)]
    for batch, other, image in zip(*batches, images, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch, other, strict=True))
        assert torch.equal(batch[0], image)
        assert batch[1].shape[1:] == (24, 24)
        assert batch[3].min() >= 100
    only = stoker.Loader(source.map(joint=Joint(*ops, mask="mask", boxes="boxes")), 4, shuffle=True, seed=3)
    for batch, image in zip(only, images, strict=True):
        assert torch.equal(batch[0], image)
    assert "image, mask, boxes: RandomResizedCrop(24) (decode)" in stoker.Loader(joint, 4).explain()
    with pytest.raises(ArgumentError, match=r"map needs columns of the dataset, which has image, mask.*got points"):
        source.map(joint=Joint(keypoints="points"))


def test_it_travels() -> None:
    joint = Joint(RandomResizedCrop(16), mask=("a", "b"), boxes="boxes", per_box="labels", drop_empty=True, fill=7)
    again = pickle.loads(pickle.dumps(joint))
    assert repr(again) == repr(joint) == "Joint(RandomResizedCrop(16), image, a, b, boxes, labels)"
    assert (again.fill, again.drop_empty) == (7, True)


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (TypeMismatchError, r"mask 'mask' must be \[..., 60, 80\], as large as the image; got shape \(3, 3\)",
         lambda: Joint(mask="mask")(image=PICTURE, mask=np.zeros((3, 3)))),
        (TypeMismatchError, r"'b' must be of shape \[..., 4\]; got \(2, 5\)",
         lambda: Joint(boxes="b")(image=PICTURE, b=np.zeros((2, 5)))),
        (TypeMismatchError, r"'k' must be of shape \[..., 2\] or \[..., 3\]",
         lambda: Joint(keypoints="k")(image=PICTURE, k=np.zeros((2, 5)))),
        (TypeMismatchError, "must leave the image's size alone .* made 30×40 of 60×80",
         lambda: Joint(lambda image: image.resize((40, 30)))(image=PICTURE)),
        (TypeMismatchError, "'l' must have a row for each of 1 boxes; got 2",
         lambda: Joint(boxes="b", per_box="l", drop_empty=True)(image=PICTURE, b=[[0, 0, 1, 1]], l=[1, 2])),
        (ArgumentError, "Joint needs image, mask; mask was not given", lambda: Joint(mask="mask")(image=PICTURE)),
        (ArgumentError, "name their column", lambda: Joint(drop_empty=True)),
        (ArgumentError, "either image, mask, boxes or keypoints", lambda: Joint(mask="a", boxes="a")),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(error: type[Exception], text: str, call: Any) -> None:
    with pytest.raises(error, match=text):
        call()
