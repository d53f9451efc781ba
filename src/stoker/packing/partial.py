"""The place of a pack that is not complete: its lock, its records, what an earlier call left, and its publication."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from stoker.errors import ArgumentError, StoreError
from stoker.packing.shards import Attempt, ShardPlan, record_path
from stoker.store.manifest import MANIFEST, Manifest, read_manifest, sync_folder, write_atomically, write_manifest
from stoker.store.schema import Schema


class Partial:
    """Where the pack of the store `target` stands until it is complete: ``target.partial``.

    Attributes:
        base: the manifest of the store that is appended to; else None.
        root: the folder that data goes into. An append writes beside the store's shards; its manifest does not name them yet.
        records: the folder of what is known of each shard that is whole.
        attempt: tells the workers of this call from those of a killed one.

    Raises:
        ArgumentError: `target` exists, and is not to be appended to.
        StoreError: it is to be appended to, and no store.
    """

    def __init__(self, target: str, append: bool) -> None:
        self.target = target
        self.path = f"{target.rstrip('/')}.partial"
        self.base = read_manifest(target) if append else None
        if self.base is None and os.path.exists(target):
            raise ArgumentError(
                f"{target} exists already. Choose another place, remove it, or add to it with append=True (--append)."
            )
        self.root = target if append else self.path
        self.records = os.path.join(self.path, "records")
        self.attempt = Attempt(os.path.join(self.path, "attempt"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One pack at a time writes to a place. The lock is the kernel's, and ends with its owner."""
        os.makedirs(self.records, exist_ok=True)
        path = os.path.join(self.path, "lock")
        with open(path, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.path.samestat(os.fstat(lock.fileno()), os.stat(path)):
                    raise FileNotFoundError(path)
            except OSError as error:  # held; or its owner has just published the store, and the file with it
                raise StoreError(f"another process is packing {self.target} now.") from error
            yield

    def resumed(self, plan: ShardPlan, key: dict[str, Any], begins_anew: bool) -> ShardPlan:
        """The plan, or the same with columns that an earlier call found to be wider.

        What was left by a call with another `key` is removed; with `begins_anew`, all that was left.
        """
        path = os.path.join(self.path, "plan.json")
        left = _read_json(path)
        if left is not None and left.get("key") == key and not begins_anew:
            return replace(plan, schema=Schema.from_json(left["columns"], plan.schema.sample))
        self._clear()
        sync_folder(self.path)
        content = {"key": key, "columns": plan.schema.to_json()["columns"]}
        write_atomically(path, json.dumps(content, sort_keys=True).encode())
        return plan

    def _clear(self) -> None:
        """Removes the shards of another plan, and the records that say that they are whole: these first."""
        data = os.path.join(self.root, "data")
        shutil.rmtree(self.records, ignore_errors=True)
        os.makedirs(self.records)
        os.makedirs(data, exist_ok=True)
        known = {os.path.basename(shard.name) for shard in self.base.shards} if self.base else set()
        for name in set(os.listdir(data)) - known:
            os.remove(os.path.join(data, name))
        if not self.base and os.path.exists(manifest := os.path.join(self.root, MANIFEST)):
            os.remove(manifest)  # of a call that was killed a moment before its end

    def record(self, number: int) -> Any:
        """What is known of a shard; None where it is not whole."""
        return _read_json(record_path(self.records, number))

    def publish(self, manifest: Manifest) -> None:
        """From here on the store can be opened: whole, under its name."""
        if self.base is not None:
            write_manifest(self.target, manifest)
            shutil.rmtree(self.path)
            return
        write_atomically(os.path.join(self.path, "manifest.ready"), manifest.to_bytes())
        for name in ("records", "plan.json", "attempt", "lock"):
            path = os.path.join(self.path, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        os.rename(os.path.join(self.path, "manifest.ready"), os.path.join(self.path, MANIFEST))
        sync_folder(self.path)
        os.rename(self.path, self.target)
        sync_folder(os.path.dirname(self.target))


def _read_json(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            return json.load(file)
    except (FileNotFoundError, ValueError):
        return None
