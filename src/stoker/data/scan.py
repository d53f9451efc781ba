"""What lies in a folder: files of some kind, in class folders or flat, in torchvision's order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from stoker.errors import EmptyFolderError


@dataclass(frozen=True)
class FoundFiles:
    """The files of a folder.

    Attributes:
        classes: names of the class folders that hold such a file somewhere, sorted; empty for a flat folder.
        paths: of all files, relative to the folder, class by class.
        labels: the class of each path; empty for a flat folder.
    """

    classes: list[str]
    paths: list[str]
    labels: list[int]


def scan(root: str, endings: Set[str], what: str) -> FoundFiles:
    """The files below `root` with one of `endings` (lower case, with the dot), each class folder walked to any depth.

    A folder is flat where such files lie in `root` itself; then folders below it are not classes. Names are sorted, as
    torchvision's ImageFolder sorts them.

    Args:
        root: the folder.
        endings: of the files that are looked for.
        what: what they are, for the error: "images".

    Raises:
        EmptyFolderError: there are none; says what was looked for and what is there instead.
    """
    if not os.path.isdir(root):
        raise EmptyFolderError(f"{root} is not a folder; give the folder that holds the {what} or their class folders.")
    entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    flat = any(entry.is_file() and ending_of(entry.name) in endings for entry in entries)
    folders = [(".", root)] if flat else [(entry.name, entry.path) for entry in entries if entry.is_dir()]
    files = {name: [os.path.relpath(path, root) for path in _walk(folder, endings)] for name, folder in folders}
    classes = [name for name, found in files.items() if found]
    if not classes:
        looked_for = ", ".join(sorted(endings))
        raise EmptyFolderError(
            f"no {what} in {root}: looked for {looked_for}, in it and below, and found {contents(root)}."
        )
    paths = [path for name in classes for path in files[name]]
    labels = [label for label, name in enumerate(classes) for _ in files[name]]
    return FoundFiles([], paths, []) if flat else FoundFiles(classes, paths, labels)


def ending_of(name: str) -> str:
    """The ending of a file's name with its dot, in lower case."""
    return os.path.splitext(name)[1].lower()


def contents(root: str) -> str:
    """What a folder holds, in words: its five most common endings."""
    endings = Counter(Path(name).suffix.lower() or name for _, _, names in os.walk(root) for name in names)
    return ", ".join(f"{count} × {ending}" for ending, count in endings.most_common(5)) or "no files at all"


def _walk(folder: str, endings: Set[str]) -> Iterator[str]:
    for directory, _, names in sorted(os.walk(folder, followlinks=True)):
        for name in sorted(names):
            if ending_of(name) in endings:
                yield os.path.join(directory, name)
