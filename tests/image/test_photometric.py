"""Operations on pixels: every row by itself, as torchvision and Pillow compute it, on any device."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps

import stoker
from stoker.errors import ArgumentError, TypeMismatchError
from stoker.image import (
    BatchPipeline,
    ColorJitter,
    CutMix,
    GaussianBlur,
    Mixup,
    Normalize,
    Pipeline,
    RandAugment,
    RandomChoice,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    ToFloat,
    color,
    mix,
    randaugment,
)
from stoker.image.photometric import apply_pixels
from stoker.order.keys import KeyedRandom, batch_key, derive, derive_each, set_current_key
from tests.image.pictures import smooth

BATCH = torch.stack([torch.from_numpy(smooth(37, 41, seed)).permute(2, 0, 1) for seed in range(24)])
KEYS = derive_each(5, len(BATCH))
FILL = torch.tensor([0, 0, 0], dtype=torch.uint8).reshape(3, 1, 1)
ANY = [
    ColorJitter(0.4, 0.4, 0.4, 0.1),
    ColorJitter(contrast=(0.2, 3.0)),
    RandomGrayscale(0.4),
    GaussianBlur((5, 9), p=0.6),
    RandomErasing(0.7),
    RandomErasing(1.0, value=(9, 8, 7)),
]
OPS = [*ANY, RandAugment(3, 12), ToFloat(), Normalize([0.5] * 3, [0.2] * 3)]


@pytest.fixture(autouse=True)
def _no_key() -> Any:
    yield
    set_current_key(None)


def cases() -> list[Any]:
    floats = [(op, torch.float32) for op in ANY]
    return [pytest.param(op, dtype, id=f"{op} {dtype}") for op, dtype in [*((op, torch.uint8) for op in OPS), *floats]]


def pixels_of(dtype: torch.dtype) -> torch.Tensor:
    return BATCH.clone() if dtype is torch.uint8 else BATCH / 255


@pytest.mark.parametrize(("op", "dtype"), cases())
def test_a_row_does_not_depend_on_its_batch(op: Any, dtype: torch.dtype) -> None:
    given = pixels_of(dtype)
    whole = apply_pixels(op, given, KEYS)
    assert torch.equal(given, pixels_of(dtype)), "the given pixels were changed"
    assert whole.dtype is (dtype if op in ANY or isinstance(op, RandAugment) else torch.float32)
    assert not torch.equal(whole, given)
    for row in (0, 5, 11, 18, 23):
        assert torch.equal(apply_pixels(op, given[row : row + 1], KEYS[row : row + 1])[0], whole[row]), row
    back = apply_pixels(op, given.flip(0), KEYS[::-1].copy()).flip(0)
    assert torch.equal(back, whole)
    assert torch.equal(apply_pixels(pickle.loads(pickle.dumps(op)), given, KEYS), whole)


def test_a_mean_does_not_depend_on_how_its_sum_is_split() -> None:
    """torch adds up one large image in other parts than several, so floats would differ in their last bits."""
    values = torch.rand(6, 3, 512, 512, generator=torch.Generator().manual_seed(0))
    whole = color.mean_gray(values)
    assert all(torch.equal(color.mean_gray(values[row : row + 1])[0], whole[row]) for row in range(len(values)))
    torch.testing.assert_close(whole.flatten(), color.grayscale(values).mean((1, 2, 3)), atol=1e-6, rtol=0)


@pytest.mark.needs_cuda
@pytest.mark.parametrize(("op", "dtype"), cases())
def test_a_device_gives_what_the_cpu_gives(op: Any, dtype: torch.dtype) -> None:
    given = pixels_of(dtype)
    here, there = apply_pixels(op, given, KEYS), apply_pixels(op, given.cuda(), KEYS)
    assert there.device.type == "cuda"
    levels = 1 if here.dtype is torch.uint8 else 1e-4
    assert ((there.cpu().double() - here.double()).abs() > levels).double().mean() < 0.005
    assert torch.equal(there, apply_pixels(op, given.cuda(), KEYS))


# Against torchvision and Pillow


def factors(low: float = 0.3, high: float = 1.8) -> torch.Tensor:
    return torch.linspace(low, high, len(BATCH)).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ("name", "ours", "interval"),
    [
        ("adjust_brightness", color.adjust_brightness, (0.3, 1.8)),
        ("adjust_contrast", color.adjust_contrast, (0.3, 1.8)),
        ("adjust_saturation", color.adjust_saturation, (0.0, 2.5)),
        ("adjust_hue", color.adjust_hue, (-0.5, 0.5)),
        ("adjust_sharpness", randaugment.adjust_sharpness, (0.1, 1.9)),
    ],
)
def test_adjustments_are_torchvision_s(name: str, ours: Any, interval: tuple[float, float]) -> None:
    pytest.importorskip("torchvision")
    from torchvision.transforms.v2 import functional

    values, given = BATCH / 255, factors(*interval)
    expected = [getattr(functional, name)(row, factor.item()) for row, factor in zip(values, given, strict=True)]
    torch.testing.assert_close(ours(values.clone(), given), torch.stack(expected), atol=2e-5, rtol=0)


def test_grey_is_pillow_s() -> None:
    grey = apply_pixels(RandomGrayscale(1.0), BATCH, KEYS)
    assert torch.equal(grey[:, 0], grey[:, 2])
    for row, found in zip(BATCH, grey[:, 0], strict=True):
        expected = np.asarray(Image.fromarray(row.permute(1, 2, 0).numpy()).convert("L")).astype(int)
        assert np.abs(found.numpy().astype(int) - expected).max() <= 1


def test_blur_is_torchvision_s_and_a_blur() -> None:
    pytest.importorskip("torchvision")
    from torchvision.transforms.v2 import functional

    blurred = apply_pixels(GaussianBlur((5, 9), sigma=1.3), BATCH / 255, KEYS)
    torch.testing.assert_close(blurred, functional.gaussian_blur(BATCH / 255, [9, 5], [1.3, 1.3]), atol=1e-5, rtol=0)
    wide = apply_pixels(GaussianBlur(21, sigma=2.0), BATCH, KEYS)[0].permute(1, 2, 0).numpy().astype(int)
    pillow = np.asarray(Image.fromarray(BATCH[0].permute(1, 2, 0).numpy()).filter(ImageFilter.GaussianBlur(2.0)))
    assert np.abs(wide - pillow)[8:-8, 8:-8].max() <= 3


def test_erased_rectangles_are_as_drawn_and_nothing_else_changes() -> None:
    op = RandomErasing(0.8, scale=(0.05, 0.3), value=(1, 2, 3))
    given = BATCH.repeat(20, 1, 1, 1)
    keys = derive_each(11, len(given))
    erased, boxes = apply_pixels(op, given, keys), np.stack(op.draw_boxes(37, 41, keys), 1)
    shares = []
    for before, after, (top, left, height, width) in zip(given, erased, boxes.tolist(), strict=True):
        expected = before.clone()
        expected[:, top : top + height, left : left + width] = torch.tensor([1, 2, 3], dtype=torch.uint8)[:, None, None]
        assert torch.equal(after, expected)
        shares.append(height * width / (37 * 41))
    done = np.array([share for share in shares if share])
    assert 0.7 < len(done) / len(shares) < 0.9
    assert 0.035 < done.min() < 0.1
    assert 0.25 < done.max() < 0.32
    assert (boxes[:, 0] + boxes[:, 2] <= 37).all()
    assert (boxes[:, 1] + boxes[:, 3] <= 41).all()


MAGNITUDE = np.linspace(-1, 1, len(BATCH))


def pillow_affine(image: Image.Image, *coefficients: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, coefficients, Image.Resampling.NEAREST)


@pytest.mark.parametrize(
    ("number", "reference", "differing"),
    [
        (1, lambda image, m: pillow_affine(image, 1, 0.3 * m, 0, 0, 1, 0), 0.01),
        (2, lambda image, m: pillow_affine(image, 1, 0, 0, 0.3 * m, 1, 0), 0.01),
        (3, lambda image, m: pillow_affine(image, 1, 0, -int(m * 150 / 331 * 41), 0, 1, 0), 0),
        (4, lambda image, m: pillow_affine(image, 1, 0, 0, 0, 1, -int(m * 150 / 331 * 37)), 0),
        (5, lambda image, m: image.rotate(30 * m), 0.02),
        (10, lambda image, m: ImageOps.posterize(image, 8 - round(4 * abs(m))), 0),
        (11, lambda image, m: ImageOps.solarize(image, 255 * (1 - abs(m))), 0),
        (12, lambda image, m: ImageOps.autocontrast(image), 0),
        (13, lambda image, m: ImageOps.equalize(image), 0),
    ],
)
def test_randaugment_s_operations_are_pillow_s(number: int, reference: Any, differing: float) -> None:
    given = BATCH.clone()
    given[0] = 7  # of one value
    given[1] = given[1] // 4 + 20
    changed = randaugment.OPERATIONS[number](given, MAGNITUDE, FILL)
    for row, found, magnitude in zip(given, changed, MAGNITUDE.tolist(), strict=True):
        expected = np.asarray(reference(Image.fromarray(row.permute(1, 2, 0).numpy()), magnitude))
        wrong = np.abs(found.permute(1, 2, 0).numpy().astype(int) - expected) > (1 if number == 12 else 0)
        assert wrong.mean() <= differing, magnitude


def test_randaugment_draws_every_operation_equally_often() -> None:
    counts = np.zeros(len(randaugment.OPERATIONS), int)
    calls = [
        lambda pixels, magnitudes, fill, number=number: (
            counts.__setitem__(number, counts[number] + len(pixels)),
            pixels,
        )[1]
        for number in range(len(counts))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(randaugment, "OPERATIONS", calls)
        RandAugment(2).apply_keyed(torch.zeros(7000, 3, 1, 1, dtype=torch.uint8), derive_each(1, 7000))
    assert counts.sum() == 14_000
    assert ((counts - 1000) ** 2 / 1000).sum() < 34.5  # chi-squared, 13 degrees of freedom, p = 0.001


# Draws


def test_jitter_s_factors_fill_their_interval_in_every_order() -> None:
    grey = torch.full((2000, 3, 1, 1), 0.4)
    keys = derive_each(2, 2000)
    bright = apply_pixels(ColorJitter(brightness=0.5), grey, keys)[:, 0, 0, 0] / 0.4
    assert 0.5 <= bright.min() < 0.51
    assert 1.49 < bright.max() <= 1.5
    assert abs(bright.mean() - 1) < 0.03
    # Twice as bright is cut at white before contrast halves it, or after: two results, by the order that was drawn.
    two = torch.tensor([0.2, 0.8]).reshape(1, 1, 1, 2).expand(2000, 3, 1, 2)
    mixed = apply_pixels(ColorJitter(brightness=(2, 2), contrast=(0.5, 0.5)), two, keys)[:, 0, 0, 1]
    found = [(mixed - value).abs().lt(1e-3).double().mean().item() for value in (0.85, 1.0)]
    assert abs(sum(found) - 1) < 1e-9
    assert 0.45 < found[0] < 0.55


GOLDEN_BOXES = [[28, 18, 35, 22], [43, 27, 25, 43], [1, 34, 54, 43], [34, 32, 0, 48]]
GOLDEN_BETA = [0.010070293246, 0.091357973871, 0.109201941394, 0.343155543788]
GOLDEN_COLORS = [128, 194, 13, 164, 184, 0]


def test_parameters_under_a_key_never_change() -> None:
    boxes = np.stack(RandomErasing(0.9).draw_boxes(100, 80, derive_each(7, 4)), 1).tolist()
    assert boxes == GOLDEN_BOXES
    assert [round(mix.beta(KeyedRandom(key), 0.4), 12) for key in range(4)] == GOLDEN_BETA
    jittered = apply_pixels(ColorJitter(0.4, 0.4, 0.4, 0.1), BATCH[:2, :, :1, :1], KEYS[:2])
    assert jittered.flatten().tolist() == GOLDEN_COLORS


@pytest.mark.parametrize("alpha", [0.02, 0.2, 1.0, 4.0])
def test_beta_has_beta_s_moments(alpha: float) -> None:
    drawn = np.array([mix.beta(KeyedRandom(derive(3, number)), alpha) for number in range(4000)])
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(drawn.mean() - 0.5) < 4 * np.sqrt(variance / 4000)
    assert abs(drawn.var() / variance - 1) < 0.08
    assert drawn.min() >= 0
    assert drawn.max() <= 1


# Mixing


LABELS = torch.arange(len(BATCH)) % 5


def test_mixup_blends_images_and_labels_alike() -> None:
    for key in range(10):
        images, targets = Mixup(0.8).apply_mix(BATCH / 255, LABELS, 5, key)
        share = targets[0, 0].item()
        expected = np.zeros((len(BATCH), 5))
        for row in range(len(BATCH)):
            expected[row, LABELS[row]] += share
            expected[row, LABELS[row - 1]] += 1 - share
            slow = share * BATCH[row].numpy() / 255 + (1 - share) * BATCH[row - 1].numpy() / 255
            assert np.abs(images[row].numpy() - slow).max() < 1e-6
        assert np.abs(targets.numpy() - expected).max() < 1e-6
        whole = Mixup(0.8).apply_mix(BATCH, LABELS, 5, key)[0]
        assert whole.dtype is torch.uint8
        assert (whole.double() / 255 - images).abs().max() <= 0.5 / 255 + 1e-6


def test_cutmix_s_labels_count_pixels() -> None:
    own, other = torch.zeros(2, 3, 20, 30, dtype=torch.uint8), torch.tensor([0, 1])
    own[1] = 255
    shares = set()
    for key in range(40):
        images, targets = CutMix().apply_mix(own, other, 2, key)
        replaced = (images[0, 0] == 255).double().mean()
        assert abs(targets[0, 1] - replaced) < 1e-6
        rows, columns = torch.nonzero(images[0, 0], as_tuple=True)
        if len(rows):  # one rectangle, without holes
            assert len(rows) == (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
        assert torch.equal(images[1], 255 - images[0])
        shares.add(replaced.item())
    assert len(shares) > 20


def test_p_and_choice() -> None:
    kept = [torch.equal(Mixup(p=0.3).apply_mix(BATCH, LABELS, 5, key)[0], BATCH) for key in range(200)]
    assert 0.6 < np.mean(kept) < 0.8
    hard = Mixup(p=0.0).apply_mix(BATCH, LABELS, 5, 1)[1]
    assert torch.equal(hard.argmax(1), LABELS)
    assert hard.dtype is torch.float32
    again = CutMix(p=0.0).apply_mix(BATCH, hard, 5, 1)[1]
    assert torch.equal(again, hard)
    choice = RandomChoice(Mixup(p=0.0), CutMix())
    untouched = [torch.equal(choice.apply_mix(BATCH, LABELS, 5, key)[0], BATCH) for key in range(200)]
    assert 0.35 < np.mean(untouched) < 0.65


# Batches


OPERATIONS = (ColorJitter(0.4, 0.4), Normalize([0.5] * 3, [0.2] * 3), RandomErasing(0.5), Mixup(0.4))


@pytest.mark.parametrize("kind", ["tuple", "list", "dict", "named"])
def test_a_batch_keeps_its_structure(kind: str) -> None:
    from collections import namedtuple

    named = namedtuple("named", ["pixels", "target", "more"])
    parts = (BATCH, LABELS, "more")
    batch = {"tuple": parts, "list": list(parts), "dict": dict(zip(("image", "label", "more"), parts, strict=True)),
             "named": named(*parts)}[kind]  # fmt: skip
    result = BatchPipeline(*OPERATIONS, num_classes=5).run(batch, 9)
    assert type(result) is type(batch)
    images, targets, more = result.values() if isinstance(result, dict) else result
    expected = BatchPipeline(*OPERATIONS, num_classes=5).run([BATCH, LABELS], 9)
    assert torch.equal(images, expected[0])
    assert torch.equal(targets, expected[1])
    assert more == "more"


def test_where_images_and_labels_stand_can_be_said() -> None:
    batch = {"x": BATCH, "y": LABELS}
    result = BatchPipeline(Mixup(), image="x", label="y", num_classes=5)(batch)
    assert result["y"].shape == (len(BATCH), 5)
    assert batch["y"] is LABELS
    alone = BatchPipeline(ToFloat())
    assert torch.equal(alone(BATCH), BATCH / 255)


def test_batches_are_the_same_with_any_workers_and_the_batch_s_key_decides() -> None:
    source = stoker.data.Arrays(BATCH, LABELS)
    pipeline = BatchPipeline(*OPERATIONS, num_classes=5)
    mapped = source.map(batch=pipeline)
    plain = list(stoker.Loader(source, 5, shuffle=True, seed=3))
    by_workers = [list(stoker.Loader(mapped, 5, shuffle=True, seed=3, num_workers=n)) for n in (0, 2)]
    for step, (raw, *made) in enumerate(zip(plain, *by_workers, strict=True)):
        expected = pipeline.run(raw, batch_key(3, 0, 5 * step))
        for batch in made:
            assert all(torch.equal(a, b) for a, b in zip(batch, expected, strict=True))


def test_an_operation_in_a_pipeline_draws_from_its_sample_s_key() -> None:
    pipeline = Pipeline(RandomHorizontalFlip(0), ColorJitter(0.5), RandomErasing(1.0))
    set_current_key(77)
    expected = BATCH[:1]
    for number, op in enumerate(pipeline.ops[1:], 1):
        expected = apply_pixels(op, expected, np.array([derive(77, number)], np.uint64))
    assert torch.equal(pipeline(BATCH[0]), expected[0])
    assert pipeline.describe()[1:] == [
        ("ColorJitter(0.5…1.5, 1…1, 1…1, 0…0)", "sample"),
        ("RandomErasing(p=1)", "sample"),
    ]


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (ArgumentError, "brightness must be a number of at least 0", lambda: ColorJitter(-1)),
        (ArgumentError, r"hue must be a number in \[0, 0.5\]", lambda: ColorJitter(hue=0.7)),
        (ArgumentError, "kernel_size must be odd; got 4", lambda: GaussianBlur(4)),
        (ArgumentError, "num_ops must be at least 0", lambda: RandAugment(magnitude=31)),
        (ArgumentError, "alpha must be positive; got 0", lambda: Mixup(0)),
        (ArgumentError, "RandomChoice takes one or more", lambda: RandomChoice(ToFloat())),  # type: ignore[arg-type]
        (ArgumentError, "num_classes where images are mixed", lambda: BatchPipeline(Mixup())),
        (ArgumentError, "one for each of 3 channels; got 2", lambda: RandomErasing(value=(1, 2)).apply_keyed(BATCH, KEYS)),
        (TypeMismatchError, "must be one of stoker.image's on pixels", lambda: BatchPipeline(RandomHorizontalFlip())),
        (TypeMismatchError, "RandAugment takes uint8 pixels; got torch.float32. Put it before ToFloat",
         lambda: RandAugment().apply_keyed(BATCH / 255, KEYS)),
        (TypeMismatchError, "ColorJitter takes images of 3 channels; got pixels of shape",
         lambda: ColorJitter(1).apply_keyed(BATCH[:, :1], KEYS)),
        (TypeMismatchError, "there is no 'image' in the batch: .'x'.", lambda: BatchPipeline(ToFloat())({"x": BATCH})),
        (TypeMismatchError, r"must be a tensor \[n, channels, height, width\]; got str",
         lambda: BatchPipeline(ToFloat())(["a", "b"])),
        (TypeMismatchError, r"labels must be whole numbers \[n\], or shares",
         lambda: BatchPipeline(Mixup(), num_classes=5)([BATCH, LABELS.double()])),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(error: type[Exception], text: str, call: Any) -> None:
    with pytest.raises(error, match=text):
        call()
