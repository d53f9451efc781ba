"""Stoker's native core."""

import numpy as np
from numpy.typing import NDArray

def gather_rows(table: int, num_rows: int, row_bytes: int, indices: NDArray[np.int64], target: int) -> None:
    """Copies rows of a table; `table` and `target` are addresses of contiguous memory. Raises IndexError."""

def resample_rgb(
    source: int,
    source_stride: int,
    source_height: int,
    source_width: int,
    target: int,
    target_height: int,
    target_width: int,
    antialias: bool,
    flip_horizontally: bool,
    flip_vertically: bool,
    planar: bool,
) -> None:
    """Resizes 8-bit RGB pixels; `source` and `target` are addresses. Releases the GIL."""

def retile_jpeg(data: bytes, tile_mcus: int) -> bytes | None:
    """The same JPEG with a restart marker after about `tile_mcus` MCUs; None for what has to stay as it is. Releases the GIL."""

def extract_tiles(data: bytes, top: int, left: int, height: int, width: int) -> tuple[bytes, int, int] | None:
    """(a JPEG of the tiles that cover the rectangle, its top, its left); None where `data` is not tiled, or damaged. Releases the GIL."""

def map_file(path: bytes) -> tuple[int, int]:
    """(address, bytes) of a file, mapped read-only; holds no descriptor. `path` as `os.fsencode` gives it. Raises OSError."""

def unmap_file(address: int, size: int) -> None:
    """Ends a mapping."""

def copy_spans(addresses: NDArray[np.uint64], lengths: NDArray[np.int64], target: int) -> None:
    """Copies spans of memory behind each other to the address `target`. Releases the GIL."""

def widen_rows(addresses: NDArray[np.uint64], length: int, dtype: str, target: int) -> None:
    """Copies `length` numbers (uint8, uint16, uint32, int32) from each address to the address `target`, as int64. Releases the GIL."""

def read_spans(
    paths: list[bytes],
    files: NDArray[np.int64],
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
    target: int,
    max_gap: int,
) -> tuple[int, int, int]:
    """Reads spans of files behind each other to the address `target`; those at most `max_gap` bytes apart by one preadv(2).

    `files` are numbers of `paths`, as `os.fsencode` gives them. Returns (error, file, offset): 0, or where reading failed and
    why, an errno or -1 for a file that ends there. Releases the GIL.
    """

def load_bounds(addresses: NDArray[np.uint64], target: int) -> None:
    """Reads two neighbouring 64-bit numbers at each address to the address `target`. Releases the GIL."""

def read_ahead(addresses: NDArray[np.uint64], lengths: NDArray[np.int64], max_gap: int) -> int:
    """Tells the kernel that spans of mapped files will be needed; those at most `max_gap` bytes apart as one. Releases the GIL."""

def count_resident(addresses: NDArray[np.uint64]) -> int:
    """How many of these addresses stand in pages that are in memory."""

def decode_crops(
    addresses: NDArray[np.uint64],
    sizes: NDArray[np.int64],
    boxes: NDArray[np.int32],
    flips: NDArray[np.uint8],
    target: int,
    target_stride: int,
    target_height: int,
    target_width: int,
    antialias: bool,
    planar: bool,
) -> NDArray[np.uint8]:
    """Decodes a rectangle of each JPEG of a batch, resizes it, flips it and writes it; pixel for pixel what a View gives.

    Args:
        addresses: of the files' bytes, [n]; nothing outside of them is read, and they must not change meanwhile.
        sizes: in bytes, [n].
        boxes: (top, left, height, width), [n, 4].
        flips: [n]; bit 0 mirrors left and right, bit 1 top and bottom.
        target: the address of the first image's pixels, uint8 [3, target_height, target_width] where `planar`, else
            [target_height, target_width, 3].
        target_stride: bytes from one image to the next.
        target_height: of each image, in pixels.
        target_width: likewise.
        antialias: whether a target pixel averages all that it covers.
        planar: whether an image's channels follow each other, or stand side by side in every pixel.

    Returns:
        [n]: 0 where the image is done; 1 where it is left to the caller, and its place in the target may hold anything:
        a file that is no baseline JPEG of one scan, or coloured or subsampled in an uncommon way, one that EXIF says to
        turn, a damaged one, or a box that is not within it.

    Thread-safe; releases the GIL.

    Raises:
        ValueError: arrays of different lengths, or a target without room.
    """

def resample_crops(
    addresses: NDArray[np.uint64],
    heights: NDArray[np.int32],
    widths: NDArray[np.int32],
    boxes: NDArray[np.int32],
    flips: NDArray[np.uint8],
    target: int,
    target_stride: int,
    target_height: int,
    target_width: int,
    antialias: bool,
    planar: bool,
) -> None:
    """The same for images in memory, uint8 [height, width, 3] without gaps. Thread-safe; releases the GIL.

    Raises:
        ValueError: a box is not within its image (images before it are written), or as `decode_crops`.
    """

def jpeg_sizes(addresses: NDArray[np.uint64], sizes: NDArray[np.int64]) -> NDArray[np.int32]:
    """(height, width, orientation as in EXIF) of each JPEG, [n, 3]; height 0 where `decode_crops` does not take its kind.

    Height and width are those of the file, before it is turned. Thread-safe; releases the GIL.
    """

def draw_resized_crops(
    keys: NDArray[np.uint64],
    sizes: NDArray[np.int32],
    scale_low: float,
    scale_high: float,
    log_ratio_low: float,
    log_ratio_high: float,
    ratio_low: float,
    ratio_high: float,
) -> NDArray[np.int32]:
    """(top, left, height, width) of a random rectangle of each image of `sizes` (height, width), [n, 4].

    Bit for bit what `RandomResizedCrop.draw` gives with `KeyedRandom(key)`. Pure.

    Raises:
        ValueError: an image without pixels, or arrays of different lengths.
    """
