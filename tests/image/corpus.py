"""Writes small JPEGs of every kind that the native core takes, for `make fuzz` to change: python tests/image/corpus.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((67, 43))
    kinds = {"sequential": {}, "progressive": {"progressive": True}, "restarts": {"restart_marker_blocks": 2}}
    for name, options in kinds.items():
        for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
            path = folder / f"{name}-{subsampling.replace(':', '')}.jpg"
            image.save(path, quality=60, subsampling=subsampling, **options)
        image.convert("L").save(folder / f"{name}-grey.jpg", quality=60, **options)
    image.resize((350, 210)).save(folder / "long-segment.jpg", quality=100)  # more than a decoder holds at once
    upright = simplejpeg.encode_jpeg(np.asarray(image), 60, colorsubsampling="440")
    (folder / "sequential-440.jpg").write_bytes(upright)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
