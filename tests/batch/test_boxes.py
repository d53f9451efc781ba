"""Detection batches: images of one tensor, targets as they were."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.batch import detection

SIZES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=5)


@given(SIZES, st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_images_stand_in_the_upper_left_corner(sizes: list[tuple[int, int]], multiple: int) -> None:
    samples = [(torch.randint(1, 255, (3, *size), dtype=torch.uint8), {"number": n}) for n, size in enumerate(sizes)]
    images, targets, masks = detection(multiple=multiple, masks=True)(samples)
    assert images.dtype is torch.uint8
    assert all(side % multiple == 0 for side in images.shape[2:])
    assert targets == [target for _, target in samples]
    for image, mask, (sample, _) in zip(images, masks, samples, strict=True):
        assert torch.equal(image[:, mask], sample.flatten(1))
        assert torch.equal(image[:, : sample.shape[1], : sample.shape[2]], sample)
        assert not image[:, ~mask].any()


def test_images_of_one_size_are_stacked() -> None:
    samples = [(torch.rand(3, 4, 5), {}), (torch.rand(3, 4, 5), {})]
    images, _ = detection(fill=1)(samples)
    assert torch.equal(images, torch.stack([image for image, _ in samples]))


def test_targets_are_private_tensors_and_keep_their_structure() -> None:
    boxes, area = torch.rand(2, 4), np.ones(2)
    target = {"boxes": boxes, "area": area, "id": 7, "crowd": [np.zeros(1, bool)], "name": "x"}
    _, (found,) = detection()([(torch.rand(3, 2, 2), target)])
    assert {key: type(value) for key, value in found.items()} == {
        "boxes": torch.Tensor, "area": torch.Tensor, "id": int, "crowd": list, "name": str,
    }  # fmt: skip
    assert torch.equal(found["boxes"], boxes)
    found["boxes"].zero_()
    found["area"].zero_()
    assert boxes.any()
    assert area.all()
    assert found["crowd"][0].tolist() == [False]


def test_dicts_with_an_image() -> None:
    images, targets = detection(image="pixels")([{"pixels": np.zeros((1, 2, 2)), "boxes": torch.zeros(0, 4)}])
    assert images.shape == (1, 1, 2, 2)
    assert list(targets[0]) == ["boxes"]


def test_it_pickles() -> None:
    assert pickle.loads(pickle.dumps(detection(fill=2, multiple=32))) == detection(fill=2, multiple=32)


@pytest.mark.parametrize(
    ("arguments", "samples", "message"),
    [
        ({"multiple": 0}, [], r"multiple must be at least 1; got 0"),
        ({}, [], r"at least one sample; got none"),
        ({}, [(torch.zeros(3, 2, 2), {}), (torch.zeros(1, 2, 2), {})],
         r"field image: samples may differ in their dimension 1 and 2 alone; sample 0 has the shape \[3, 2, 2\], sample 1 \[1, 2, 2\]"),
        ({}, [(torch.zeros(2, 2), {})], r"\[channels, height, width\]; that of sample 0 is \[2, 2\]"),
        ({}, [("a.jpg", {})], r"that of sample 0 is str"),
        ({}, [{"img": 1, "boxes": 2}], r"a dict with the key 'image'; sample 0 is a dict of img, boxes"),
        ({}, [torch.zeros(3, 2, 2)], r"a pair \(image, target\).* sample 0 is Tensor"),
        ({"fill": 0.5}, [(torch.zeros(3, 2, 2, dtype=torch.uint8), {})], r"field image: torch.uint8 cannot hold the fill value 0.5"),
    ],
)  # fmt: skip
def test_mistakes(arguments: dict[str, Any], samples: list[Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        detection(**arguments)(samples)
