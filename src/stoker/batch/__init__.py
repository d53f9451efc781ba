"""Batches: collate functions, what a row looks like, the memory that batches live in, and how whole batches travel.

The collate functions are for ``Loader(collate_fn=...)`` and torch's own DataLoader.
"""

from stoker.batch.boxes import detection
from stoker.batch.padding import pad, unpad
from stoker.batch.raggedness import Ragged, ragged
from stoker.batch.sequences import cu_seqlens, pack_sequences

__all__ = ["Ragged", "cu_seqlens", "detection", "pack_sequences", "pad", "ragged", "unpad"]
