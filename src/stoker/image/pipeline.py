"""Pipeline: image operations in the order in which the user thinks of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from stoker.errors import ArgumentError, TypeMismatchError
from stoker.image.frame import Frame
from stoker.image.fused import Fused, fuse
from stoker.image.photometric import apply_pixels, is_pixel_op
from stoker.image.view import View
from stoker.order.keys import KeyedRandom, current_key, derive

_LAYOUTS = ("chw", "hwc")


class Pipeline:
    """Runs `ops` over an image. Takes Stoker's operations and any callable, torchvision's and Albumentations' objects too.

    Geometry that comes first is fused into the decoding: only what a crop shows is decoded. A callable gets a PIL RGB
    image, as torchvision's datasets hand it out (Albumentations' objects get ``image=`` an array [height, width, 3]);
    once one has made a tensor of it, the following ones get the tensor. Nothing is moved across a callable.

    Calling it with an EncodedImage, the bytes of a file, a PIL image, an array [h, w, 3] or a tensor [3, h, w] gives a
    tensor of its own: uint8 [3, h, w] (`layout` "chw") or [h, w, 3] ("hwc"), float only after `ToFloat`, `Normalize` or
    a callable that makes it so.

    Deterministic: all parameters come from the sample's key inside a loader; outside of one a key is drawn from torch's
    global generator. Thread-safe where its callables are; pickles where they do.
    """

    takes_encoded = True
    """A dataset hands it images as they are in their files."""

    def __init__(self, *ops: Any, layout: str = "chw") -> None:
        if layout not in _LAYOUTS:
            raise ArgumentError(f"layout must be 'chw' or 'hwc'; got {layout!r}.")
        for op in ops:
            if not callable(op) and not is_own(op):
                raise TypeMismatchError(f"an operation must be one of stoker.image's or a callable; got {op!r}.")
            if isinstance(op, type):
                raise TypeMismatchError(
                    f"an operation must be an object; got the class {op.__name__}. Write {op.__name__}(...)."
                )
        self.ops = ops
        self.layout = layout
        self._steps = tuple(_step(op) for op in ops)

    @property
    def draws_randomness(self) -> bool:
        """Whether there is foreign code in it, which may draw from generators of any kind."""
        return not all(is_own(op) for op in self.ops)

    def __call__(self, image: Any, *, out: NDArray[Any] | None = None) -> torch.Tensor:
        """The finished pixels. With `out`, an array of the right shape and dtype, they are written there, and the tensor shares it.

        Raises:
            ImageError: the image cannot be decoded.
            TypeMismatchError: the image, or what a callable made of it, is of a type that the next operation cannot
                take.
        """
        return self._run(image, key_in_use(), out)[0]

    def run_framed(self, image: Any, key: int) -> tuple[torch.Tensor, Frame, tuple[int, int]]:
        """The finished pixels under `key`, where the geometry has taken them, and the image's (height, width) before it.

        Raises:
            TypeMismatchError: a callable changes the image's size, so that nobody knows where its pixels went.
        """
        whole = View.of(image)
        pixels, frame = self._run(whole, key, None, Frame.of(whole.size))
        assert frame is not None
        return pixels, frame, whole.size

    def _run(
        self, image: Any, key: int, out: NDArray[Any] | None, frame: Frame | None = None
    ) -> tuple[torch.Tensor, Frame | None]:
        whole = image if isinstance(image, View) else View.of(image)
        value: Any = whole
        for number, (op, step) in enumerate(zip(self.ops, self._steps, strict=True)):
            key_here = derive(key, number)
            value = step(value, key_here)
            if frame is not None:
                frame = _followed(op, value, frame, key_here)
        return self._finished(_tensor(value), whole, out), frame

    def _finished(self, pixels: torch.Tensor, given: View, out: NDArray[Any] | None) -> torch.Tensor:
        """`pixels` in the wanted layout, in memory that is theirs alone: neither the given image's nor a whole decoded one's."""
        pixels = pixels.permute(1, 2, 0) if self.layout == "hwc" else pixels
        if out is None:
            owns = pixels.untyped_storage().nbytes() == pixels.nbytes and not given.shares_memory(pixels)
            return pixels.contiguous() if owns else pixels.clone(memory_format=torch.contiguous_format)
        target = torch.from_numpy(out)
        if target.shape != pixels.shape or target.dtype is not pixels.dtype:
            raise TypeMismatchError(
                f"out must be {pixels.dtype} {tuple(pixels.shape)}; got {target.dtype} {tuple(target.shape)}."
            )
        return target.copy_(pixels)

    def fused(self) -> Fused | None:
        """The pipeline for whole batches, where it can be run so; the results are the same."""
        return fuse(self.ops, self.layout)

    def split(self) -> tuple[Pipeline, list[tuple[int, Any]]]:
        """The pipeline without the operations on pixels at its end, and those, each with its number: it is part of their keys."""
        count = len(self.ops)
        while self.layout == "chw" and count and is_pixel_op(self.ops[count - 1]):
            count -= 1
        return Pipeline(*self.ops[:count], layout=self.layout), list(enumerate(self.ops))[count:]

    def describe(self) -> list[tuple[str, str]]:
        """Each operation's text, and where it runs: "decode", "sample"."""
        described, fused = [], True
        for op in self.ops:
            fused = fused and hasattr(op, "apply")
            described.append((repr(op) if is_own(op) else _name(op), "decode" if fused else "sample"))
        return described

    def __reduce__(self) -> Any:
        return _rebuild, (self.ops, self.layout)

    def __repr__(self) -> str:
        return f"Pipeline({', '.join(text for text, _ in self.describe())})"


_Step = Callable[[Any, int], Any]


def key_in_use() -> int:
    """The current key; outside of a loader one drawn from torch's global generator."""
    key = current_key()
    return int(torch.empty((), dtype=torch.int64).random_()) if key is None else key


def _followed(op: Any, value: View | torch.Tensor, frame: Frame, key: int) -> Frame:
    """`frame` after `op`, which has made `value` under `key`."""
    if is_own(op) and hasattr(op, "apply"):
        frame = op.apply(frame, KeyedRandom(key))
    size = value.size if isinstance(value, View) else tuple(value.shape[-2:])
    if size != frame.size:
        raise TypeMismatchError(
            f"{_name(op)} must leave the image's size alone where masks, boxes or keypoints go with it: it made "
            f"{size[0]}×{size[1]} of {frame.size[0]}×{frame.size[1]}. Crop and resize with stoker.image's operations."
        )
    return frame


def _rebuild(ops: tuple[Any, ...], layout: str) -> Pipeline:
    return Pipeline(*ops, layout=layout)


def is_own(op: Any) -> bool:
    """Whether an operation is Stoker's, and draws from nothing but its key."""
    return type(op).__module__.startswith("stoker.image.")


def _step(op: Any) -> _Step:
    """How `op` is run: on a view, on a tensor, or on what other people's code expects."""
    if is_own(op) and hasattr(op, "apply"):
        return lambda value, key: op.apply(value if isinstance(value, View) else View.of(value), KeyedRandom(key))
    if is_own(op) and hasattr(op, "apply_tensor"):
        return lambda value, key: op.apply_tensor(_tensor(value))
    if is_own(op):
        return lambda value, key: apply_pixels(op, _tensor(value)[None], np.array([key], np.uint64))[0]
    if type(op).__module__.split(".")[0] == "albumentations":
        return lambda value, key: _received(op, op(image=_array(value))["image"])
    return lambda value, key: _received(op, op(value.pil() if isinstance(value, View) else value))


def _received(op: Any, value: Any) -> View | torch.Tensor:
    """What a callable returned: a tensor stays one, anything else is an image again."""
    if isinstance(value, torch.Tensor):
        if value.ndim != 3:
            raise TypeMismatchError(
                f"{_name(op)} must return an image [channels, height, width]; got shape {tuple(value.shape)}."
            )
        return value
    if isinstance(value, Image.Image | np.ndarray):
        return View.of(value)
    raise TypeMismatchError(
        f"{_name(op)} must return a PIL image, an array or a tensor; got {type(value).__qualname__}."
    )


def _tensor(value: View | torch.Tensor) -> torch.Tensor:
    return value.pixels() if isinstance(value, View) else value


def _array(value: View | torch.Tensor) -> Any:
    return value.array() if isinstance(value, View) else np.ascontiguousarray(value.permute(1, 2, 0).numpy())


def _name(op: Any) -> str:
    return getattr(op, "__qualname__", type(op).__qualname__)
