"""A folder of images: one folder for each class, as torchvision's ImageFolder has it, or a flat one without labels."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.data.scan import scan
from stoker.data.shared_list import SharedList
from stoker.data.values import Source
from stoker.errors import ImageError
from stoker.image.batched import EncodedBatch
from stoker.image.decode import EncodedImage

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif"})
"""The endings of image files, in lower case."""


class ImageFolder(Source):
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
        found = scan(self.root, EXTENSIONS, "images")
        self.classes = found.classes
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        self.columns = ("image", "label") if self.classes else ("image",)
        self.paths = SharedList(found.paths)
        self.targets: NDArray[np.int64] = np.array(found.labels, np.int64)

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

    def sample_name(self, index: int) -> str:
        name: str = self.paths[index]
        return name

    def read(self, index: int) -> tuple[Any, ...]:
        path = self.sample_path(index)
        try:
            with open(path, "rb", buffering=0) as file:
                data = file.readall()
        except OSError as error:
            raise ImageError(f"cannot read the image {path}: {error.strerror}") from error
        image = EncodedImage(data, path)
        return (image, int(self.targets[index])) if self.classes else (image,)

    # A batch at a time, for image pipelines: see data/image_rows.py

    def image_batch(self, column: str, indices: NDArray[np.int64]) -> EncodedBatch | None:
        """The files of a batch, read; None for the column of labels."""
        if column != "image":
            return None
        files = [np.frombuffer(self.read(index)[0].data, np.uint8) for index in indices.tolist()]
        addresses = np.array([file.ctypes.data for file in files], np.uint64)
        return EncodedBatch(addresses, np.array([len(file) for file in files], np.int64), files)

    def column(self, name: str) -> NDArray[Any] | None:
        return self.targets if name == "label" and self.classes else None

    def number_batch(self, column: str, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """The labels of a batch."""
        return self.targets[indices]

    def example(self, column: str) -> int | None:
        """A label."""
        return 0 if column == "label" else None

    def fingerprint(self) -> dict[str, Any]:
        return {**super().fingerprint(), "classes": len(self.classes)}
