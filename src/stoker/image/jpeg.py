"""Reads the header of a JPEG: size, components, sampling, EXIF orientation, and where its height stands. Decodes nothing.

ITU-T T.81 has the markers, CIPA DC-008 the orientation. Every byte is hostile: offsets are checked before they are
followed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SOI, _SOS, _DRI, _APP1 = 0xD8, 0xDA, 0xDD, 0xE1
_STANDALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_FRAMES = {marker for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC)}
_SEQUENTIAL = (0xC0, 0xC1)
_ORIENTATION_TAG, _SHORT = 0x0112, 3


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What a decoder has to know beforehand. `height_offset` is where the two bytes of the height stand in the file.

    `is_tiled` says whether restart markers cut every row of MCUs into equal tiles, so that some can be decoded alone.
    """

    width: int
    height: int
    num_components: int
    mcu_height: int
    height_offset: int
    single_scan: bool
    is_tiled: bool
    orientation: int


def read_jpeg_header(data: bytes) -> JpegHeader | None:
    """The header of a JPEG; None for anything else, and for one whose header is damaged (a decoder will say how)."""
    if data[:2] != b"\xff\xd8":
        return None
    offset, orientation, restart_interval, end = 2, 1, 0, len(data)
    frame: tuple[int, int] | None = None  # marker, offset of its contents
    while offset + 4 <= end:
        if data[offset] != 0xFF:
            return None
        marker = data[offset + 1]
        if marker == 0xFF or marker in _STANDALONE:
            offset += 1 if marker == 0xFF else 2
            continue
        length = data[offset + 2] << 8 | data[offset + 3]
        if length < 2 or offset + 2 + length > end:
            return None
        contents = offset + 4
        if marker == _APP1 and orientation == 1:
            orientation = _exif_orientation(data[contents : offset + 2 + length])
        elif marker == _DRI and length == 4:
            restart_interval = data[contents] << 8 | data[contents + 1]
        elif marker in _FRAMES:
            frame = marker, contents
        elif marker == _SOS:
            return _header(data, frame, data[contents], restart_interval, orientation)
        offset += 2 + length
    return None


def _header(
    data: bytes, frame: tuple[int, int] | None, scan_components: int, restart_interval: int, orientation: int
) -> JpegHeader | None:
    if frame is None:
        return None
    marker, start = frame
    precision, height, width, count = struct.unpack_from(">BHHB", data, start)
    if not height or not width or not 1 <= count <= 4 or start + 6 + 3 * count > len(data):
        return None
    sampling = data[start + 7 : start + 6 + 3 * count : 3]
    mcu_height = 8 * max(factors & 15 for factors in sampling) if count > 1 else 8
    mcu_width = 8 * max(factors >> 4 for factors in sampling) if count > 1 else 8
    single_scan = marker in _SEQUENTIAL and scan_components == count and precision == 8
    mcus_wide = -(-width // max(mcu_width, 8))
    is_tiled = single_scan and restart_interval > 0 and mcus_wide % restart_interval == 0
    return JpegHeader(width, height, count, mcu_height, start + 1, single_scan, is_tiled, orientation)


def _exif_orientation(segment: bytes) -> int:
    """The orientation in an EXIF segment, 1 to 8; 1 where there is none or it cannot be read."""
    if segment[:6] != b"Exif\0\0":
        return 1
    tiff = segment[6:]
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (directory,) = struct.unpack_from(order + "I", tiff, 4)
    if directory + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(order + "H", tiff, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        if entry + 12 > len(tiff):
            return 1
        tag, kind = struct.unpack_from(order + "HH", tiff, entry)
        if tag == _ORIENTATION_TAG:
            (value,) = struct.unpack_from(order + "H", tiff, entry + 8)
            return value if kind == _SHORT and 1 <= value <= 8 else 1
    return 1
