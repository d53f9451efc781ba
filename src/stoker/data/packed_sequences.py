"""Documents packed into rows of one length: a dataset of rows over a dataset of documents."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from stoker.batch.fields import Field
from stoker.batch.fitting import Packing, Pieces, plan
from stoker.batch.padding import Fill
from stoker.batch.sequences import Documents, fill_rows
from stoker.data.dataset import Dataset, check_index
from stoker.data.fingerprint import fingerprint
from stoker.errors import ArgumentError, DataError


class PackedSequences(Dataset):
    """Rows of `max_length` tokens, packed from the documents of `dataset`; which documents share a row is planned once.

    Documents are sequences, or dicts, tuples or named tuples of sequences of one length. A sample is a dict of tensors
    [max_length, ...]: the documents' fields (called "tokens" where documents are single sequences, by the dataset's
    columns, or "0", "1" …), ``document_ids`` (int64; the document's index in `dataset`, -1 at padding) and
    ``position_ids`` (int64; from 0 in each piece of a document). ``stoker.batch.cu_seqlens(batch["document_ids"])`` gives
    a batch's boundaries for block-diagonal attention.

    Because a row is a sample like any other, batches have one shape, every order and sampler works, ranks take equal
    steps, and a loader resumes at any batch; ``shuffle=True`` shuffles rows. The plan is a function of the lengths and the
    arguments. It takes 40 bytes and about a microsecond per document. Reading a row reads its documents. Thread-safe
    where `dataset` is.

    Args:
        dataset: a map-style dataset of documents.
        max_length: the length of a row.
        lengths: each document's tokens, where they are known; otherwise every document is read once, here.
        window: documents that are packed together; all of them if not given. A small one keeps neighbours of a file
            together, and leaves more padding.
        seed: shuffles the documents before they are packed, so that a row holds no neighbours; None keeps their order.
        method: "best_fit" (decreasing), which wastes least, or "first_fit", which keeps the order of documents in a row.
        overlong: what becomes of documents longer than a row: "raise"; "truncate" keeps their beginning; "split" cuts
            them into pieces, each a document of its own to attention.
        fields: the fields to pack; the others are left out. All of them if not given.
        fill: what padding holds; ``{"labels": -100}`` gives a field a value of its own.

    Raises:
        ArgumentError: an argument breaks a rule, there is not one length for each document, or one is too long.
        TypeMismatchError: a field is no sequence.
        DataError: when a row is read, and a document has another length than the plan knows.
    """

    def __init__(
        self,
        dataset: Any,
        max_length: int,
        *,
        lengths: ArrayLike | None = None,
        window: int | None = None,
        seed: int | None = None,
        method: str = "best_fit",
        overlong: str = "raise",
        fields: Collection[Field] | None = None,
        fill: Fill = 0,
    ) -> None:
        self.dataset = dataset
        self.packing = Packing(max_length=max_length, method=method, overlong=overlong)
        if len(dataset) < 1:
            raise ArgumentError("PackedSequences needs at least one document; the dataset is empty.")
        self._fields, self._fill = fields, fill
        self.columns = (*self._documents([0]).columns, "document_ids", "position_ids")
        self._lengths = self._measure() if lengths is None else _checked(lengths, len(dataset))
        self._pieces = plan(self._lengths, self.packing, window, seed)
        self._firsts = np.searchsorted(self._pieces.row, np.arange(self._pieces.num_rows + 1))

    def __len__(self) -> int:
        """Rows."""
        return len(self._firsts) - 1

    @property
    def waste(self) -> float:
        """The share of positions that are padding, in [0, 1)."""
        positions = len(self) * self.packing.max_length
        return 1 - int(self._pieces.length.sum()) / positions if positions else 0.0

    @property
    def draws_randomness(self) -> bool:  # type: ignore[override]
        """As the documents do; of a dataset that does not say, it is possible."""
        return bool(getattr(self.dataset, "draws_randomness", True))

    def documents_of(self, row: int) -> NDArray[np.int64]:
        """The indices in the dataset of the documents in `row`, in their order; int64."""
        return self._row(check_index(row, len(self))).document

    def read(self, index: int) -> tuple[torch.Tensor, ...]:
        pieces = self._row(index)
        numbers, places = np.unique(pieces.document, return_inverse=True)
        documents = self._documents(numbers.tolist())
        wrong = np.flatnonzero(documents.lengths != self._lengths[numbers])
        if wrong.size:
            number = numbers[wrong[0]]
            raise DataError(
                f"document {number} has {documents.lengths[wrong[0]]} tokens, and rows were planned for "
                f"{self._lengths[number]}; give PackedSequences its true lengths."
            )
        local = Pieces(places.astype(np.int64), pieces.start, pieces.length, pieces.row, pieces.offset)
        batch = fill_rows(documents, local, numbers, 1, self.packing.max_length)
        return tuple(batch[name][0] for name in self.columns)

    def as_sample(self, values: tuple[Any, ...]) -> Any:
        return dict(zip(self.columns, values, strict=True))

    def fingerprint(self) -> dict[str, Any]:
        """Knows the documents' dataset and the plan, by a digest."""
        return {**super().fingerprint(), "documents": fingerprint(self.dataset), "plan": self._digest}

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(str(self.packing.max_length).encode())
        for values in (self._pieces.document, self._pieces.start, self._pieces.length, self._pieces.row):
            digest.update(values.astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    def _row(self, index: int) -> Pieces:
        return self._pieces.part(int(self._firsts[index]), int(self._firsts[index + 1]))

    def _documents(self, numbers: Sequence[int]) -> Documents:
        samples = [self._named(self.dataset[number]) for number in numbers]
        return Documents.of(samples, self._fields, self._fill, numbers)

    def _named(self, sample: Any) -> Any:
        """A tuple of a dataset's columns under their names."""
        columns = getattr(self.dataset, "columns", ())
        if isinstance(self.dataset, Dataset) and type(sample) is tuple and len(columns) == len(sample):
            return dict(zip(columns, sample, strict=True))
        return sample

    def _measure(self) -> NDArray[np.int64]:
        lengths = (int(self._documents([number]).lengths[0]) for number in range(len(self.dataset)))
        return np.fromiter(lengths, np.int64, len(self.dataset))


def _checked(lengths: ArrayLike, num_documents: int) -> NDArray[np.int64]:
    array = np.asarray(lengths)
    if array.shape != (num_documents,) or array.dtype.kind not in "iu":
        raise ArgumentError(
            f"lengths must be {num_documents} whole numbers, one for each document; got {array.dtype} {list(array.shape)}."
        )
    return array.astype(np.int64)
