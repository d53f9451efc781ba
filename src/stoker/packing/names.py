"""Names of exported files: a store may come from anyone, and no name in it leads out of the folder that is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_MOST_BYTES = 200  # of a component; common file systems take 255, and an ending or a number may be added
_OF_FORMAT = {
    "jpg": (".jpg", ".jpeg", ".jpe", ".jfif"), "png": (".png",), "gif": (".gif",), "bmp": (".bmp",), "webp": (".webp",),
    "tif": (".tif", ".tiff"), "ppm": (".ppm", ".pgm", ".pbm", ".pnm"),
}  # fmt: skip
_KNOWN = frozenset(ending for endings in _OF_FORMAT.values() for ending in endings)
_MAGIC = (
    (b"\xff\xd8", "jpg"), (b"\x89PNG", "png"), (b"GIF8", "gif"), (b"BM", "bmp"), (b"II*\0", "tif"), (b"MM\0*", "tif"),
    *((f"P{number}".encode(), "ppm") for number in range(1, 7)),
)  # fmt: skip


def image_format(data: bytes) -> str:
    """The format of an image file by its first bytes, as the ending of a name; "bin" where nobody knows."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((ending for magic, ending in _MAGIC if data.startswith(magic)), "bin")


def stem_of(name: str) -> str:
    """A name without the ending of an image file."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot and stem and f".{ending.lower()}" in _KNOWN else name


def ending_for(name: str, format: str) -> str:
    """The ending, with its dot, that a file of `format` gets: the name's own where that fits."""
    own = name[len(stem_of(name)) :]
    return own if own.lower() in _OF_FORMAT.get(format, ()) else f".{format}"


def safe_component(name: str) -> str:
    """A name that is one component of a path, on any system: without separators and control characters, and not too long."""
    try:
        data = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a character that no file system can hold
        data = name.encode("utf-8", "replace")
    text = data.decode("utf-8", "surrogateescape")
    text = "".join("_" if char in "/\\" or ord(char) < 32 or ord(char) == 127 else char for char in text)
    if len(data) > _MOST_BYTES:
        text = f"{data[: _MOST_BYTES - 9].decode('utf-8', 'ignore')}~{hashlib.sha256(data).hexdigest()[:8]}"
        return safe_component(text)
    return text if text not in ("", ".", "..") else "_"


def safe_path(name: str) -> str:
    """A relative path that stays below the folder that it is put in; "" where nothing is left of it."""
    return "/".join(safe_component(part) for part in name.split("/") if part not in ("", ".", ".."))


def distinct_components(names: Iterable[str], *, folds_case: bool = False) -> dict[str, str]:
    """Each name as a component of a path, no two the same; with `folds_case` not even to a reader that ignores case."""
    safe: dict[str, str] = {}
    used: set[str] = set()
    for name in names:
        wanted = found = safe_component(name)
        number = 1
        while (found.lower() if folds_case else found) in used:
            number += 1
            found = f"{wanted}~{number}"
        used.add(found.lower() if folds_case else found)
        safe[name] = found
    return safe
