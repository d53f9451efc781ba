from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from stoker.cli.demo import contenders as module
from stoker.cli.demo.contenders import SIZE, Contender, PlainFolder, crop_resize_flip, images_of, naive_loop, race
from stoker.errors import ImageError


@pytest.mark.parametrize("size", [(300, 240), (1, 1), (2000, 3)])
def test_the_transform_by_hand_gives_channels_first_uint8(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    for _ in range(20):
        image = crop_resize_flip(Image.new("RGB", size, "red"))
        assert image[0].unique().tolist() == [255]
    assert image.shape == (3, SIZE, SIZE)
    assert image.dtype == torch.uint8
    assert image.is_contiguous()


def test_the_transform_by_hand_flips_half_of_the_time() -> None:
    image = Image.new("RGB", (100, 100))
    image.paste("white", (50, 0, 100, 100))
    torch.manual_seed(1)
    brighter_left = sum(
        bool(crop[..., :10].sum() > crop[..., -10:].sum()) for crop in map(crop_resize_flip, [image] * 400)
    )
    brighter_right = sum(
        bool(crop[..., :10].sum() < crop[..., -10:].sum()) for crop in map(crop_resize_flip, [image] * 400)
    )
    assert brighter_left == pytest.approx(brighter_right, rel=0.35)


def test_the_naive_loop_loads_every_image_once(tmp_path: Path) -> None:
    paths = []
    for level in range(5):
        paths.append(str(tmp_path / f"{level}.png"))
        Image.new("RGB", (8, 8), (level, 0, 0)).save(paths[-1])
    batches = list(naive_loop(PlainFolder(paths), batch_size=2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert sorted(int(image[0, 0, 0]) for batch in batches for image in batch) == [0, 1, 2, 3, 4]


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.jpg cannot be read as an image; remove it or mend it"):
        _ = PlainFolder([str(broken)])[0]


def test_contenders_run_in_turn() -> None:
    runners = [Contender(name, lambda: [torch.zeros(4, 3, 1, 1)]) for name in ("a", "b")]
    assert [contender.name for contender in race(runners, rounds=2)] == ["a", "b"] * 2
    assert [len(contender.images_per_s) for contender in runners] == [2, 2]


def test_the_first_epoch_of_a_turn_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, epochs = iter([0.0, 1.0, 10.0, 14.0]), iter([[torch.zeros(100)], [torch.zeros(8)]])
    monkeypatch.setattr(module, "perf_counter", lambda: next(clock))
    contender = Contender("a", lambda: next(epochs))
    contender.take_turn()
    assert contender.images_per_s == [2.0]


def test_the_images_of_a_batch() -> None:
    images = torch.zeros(2, 3, 4, 4)
    assert images_of(images) is images
    assert images_of([images, torch.zeros(2)]) is images
