"""A folder of images: one folder for each class, as torchvision's ImageFolder has it, or a flat one without labels."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from stoker.data.dataset import Dataset
from stoker.data.shared_list import SharedList
from stoker.errors import EmptyFolderError, ImageError
from stoker.image.decode import EncodedImage

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif"})
"""The endings of image files, in lower case."""


class ImageFolder(Dataset):
    """Images below `root`. With class folders a sample is (image, label), else the image.

    Classes, labels and the order of samples are torchvision's: sorted by name, each class folder walked to any depth. A
    raw image is an `EncodedImage`: a Pipeline gets that, and decodes what it needs. Any other function gets a PIL RGB
    image, as torchvision hands it out. A sample without a map holds uint8 [3, height, width].

    Attributes:
        classes: names of the classes, sorted; empty for a flat folder.
        class_to_idx: class name to label.
        targets: labels of all samples, int64 [len].
        paths: paths of all samples, relative to `root`.

    Raises:
        EmptyFolderError: there are no images; says what was looked for and what is there instead.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)
        if not os.path.isdir(self.root):
            raise EmptyFolderError(
                f"{self.root} is not a folder; give the folder that holds the images or their class folders."
            )
        self.classes = _classes(self.root)
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        paths, targets = _scan(self.root, self.classes)
        if not paths:
            raise EmptyFolderError(_empty_text(self.root))
        self.columns = ("image", "label") if self.classes else ("image",)
        self.paths = SharedList(paths)
        self.targets: NDArray[np.int64] = np.array(targets, np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def samples(self) -> list[tuple[str, int]]:
        """(path, label) of all samples, as torchvision has them; a new list."""
        return [
            (os.path.join(self.root, path), int(label)) for path, label in zip(self.paths, self.targets, strict=True)
        ]

    def sample_path(self, index: int) -> str:
        return os.path.join(self.root, self.paths[index])

    def read(self, index: int) -> tuple[Any, ...]:
        path = self.sample_path(index)
        try:
            with open(path, "rb", buffering=0) as file:
                data = file.readall()
        except OSError as error:
            raise ImageError(f"cannot read the image {path}: {error.strerror}") from error
        image = EncodedImage(data, path)
        return (image, int(self.targets[index])) if self.classes else (image,)

    def finish(self, column: str, value: Any) -> Any:
        return torch.from_numpy(value.decode()).permute(2, 0, 1).contiguous() if column == "image" else value

    def present(self, column: str, value: Any) -> Any:
        return Image.fromarray(value.decode()) if column == "image" else value

    def fingerprint(self) -> dict[str, Any]:
        return {**super().fingerprint(), "classes": len(self.classes)}


def _classes(root: str) -> list[str]:
    """The folders below `root` that hold an image somewhere; none where images lie in `root` itself."""
    entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    if any(_is_image(entry.name) for entry in entries if entry.is_file()):
        return []
    return [entry.name for entry in entries if entry.is_dir() and next(_images(entry.path), None) is not None]


def _scan(root: str, classes: list[str]) -> tuple[list[str], list[int]]:
    if not classes:
        return [os.path.relpath(path, root) for path in _images(root)], []
    paths, targets = [], []
    for label, name in enumerate(classes):
        found = [os.path.relpath(path, root) for path in _images(os.path.join(root, name))]
        paths += found
        targets += [label] * len(found)
    return paths, targets


def _images(folder: str) -> Any:
    for directory, _, names in sorted(os.walk(folder, followlinks=True)):
        for name in sorted(names):
            if _is_image(name):
                yield os.path.join(directory, name)


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def _empty_text(root: str) -> str:
    endings = Counter(Path(name).suffix.lower() or name for _, _, names in os.walk(root) for name in names)
    seen = ", ".join(f"{count} × {ending}" for ending, count in endings.most_common(5)) or "no files at all"
    return f"no images in {root}: looked for {', '.join(sorted(EXTENSIONS))}, in it and below, and found {seen}."
