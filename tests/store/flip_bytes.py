"""Flips every byte of a small store in turn (or every n-th), in a process of its own: prints what went unnoticed, a line for each."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import stoker
from stoker.data.packed import Packed
from stoker.errors import StokerError, StoreError
from stoker.store.manifest import Manifest, read_manifest
from tests.store.every_kind import assert_same


def all_samples(root: Path, *, check: bool) -> list[Any]:
    store = Packed(root, check=check)
    return [store[index] for index in range(len(store))]


def flaw(root: Path, known: Manifest, samples: list[Any], *, is_manifest: bool) -> str:
    """What is wrong about how the damage is met; empty where nothing is."""
    try:
        damages = stoker.verify(root)
    except StoreError:
        damages = ["refused"]
    if not damages and not (is_manifest and read_manifest(str(root)) == known):
        return "verify finds nothing"
    try:
        assert_same(all_samples(root, check=True), samples)
    except StokerError:
        pass
    except AssertionError:
        return "other data was given out, though it was checked"
    with contextlib.suppress(StokerError):
        all_samples(root, check=False)
    return ""


def main(root: Path, stride: int) -> None:
    known, samples = read_manifest(str(root)), all_samples(root, check=True)
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for offset in range(0, len(whole), stride):
            data = bytearray(whole)
            data[offset] ^= (1 << offset % 8) if offset % 3 else 0xFF
            path.write_bytes(data)
            place = f"byte {offset} of {path.name}"
            try:
                text = flaw(root, known, samples, is_manifest=path.name == "manifest.json")
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
            if text:
                print(f"{place}: {text}", flush=True)
        path.write_bytes(whole)
    print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
