"""FFCV over a .beton file, written here from the folder of photographs first.

Whole images are decoded, crops resized by area averaging (OpenCV's INTER_AREA), images [rows, 224, 224, 3].
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from peers.protocol import Channel


class Photographs:
    """The folder as FFCV's writer wants it: (RGB image, label) by index."""

    def __init__(self, folder: str) -> None:
        self.paths = sorted(Path(folder).glob("*/*"))
        self.classes = sorted({path.parent.name for path in self.paths})

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        path = self.paths[index]
        return Image.open(path).convert("RGB"), self.classes.index(path.parent.name)


def write(folder: str, beton: str, mode: str, max_side: int) -> None:
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    images = RGBImageField(write_mode=mode, max_resolution=max_side, jpeg_quality=90)
    writer = DatasetWriter(beton, {"image": images, "label": IntField()}, num_workers=2)
    writer.from_indexed_dataset(Photographs(folder), chunksize=16)


def loader(beton: str, batch_size: int, num_workers: int) -> Any:
    from ffcv.fields.basics import IntDecoder
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor

    image = [RandomResizedCropRGBImageDecoder((224, 224)), RandomHorizontalFlip(), ToTensor()]
    return Loader(
        beton,
        batch_size,
        num_workers=num_workers,
        batches_ahead=3,
        os_cache=True,
        order=OrderOption.RANDOM,
        drop_last=True,
        pipelines={"image": image, "label": [IntDecoder(), ToTensor()]},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("batch_size", type=int)
    parser.add_argument("num_workers", type=int)
    parser.add_argument("beton")
    parser.add_argument("mode", choices=["jpg", "raw"])
    parser.add_argument("max_side", type=int)
    arguments = parser.parse_args()
    channel = Channel()
    write(arguments.folder, arguments.beton, arguments.mode, arguments.max_side)
    batches = loader(arguments.beton, arguments.batch_size, arguments.num_workers)
    channel.serve(lambda: batches)


if __name__ == "__main__":
    main()
