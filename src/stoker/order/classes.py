"""Orders that look at classes: each as often as the others, every class in every batch, P classes with K samples each."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import ArgumentError
from stoker.order.class_table import ClassTable
from stoker.order.keys import derive
from stoker.order.orders import Order
from stoker.order.over import PlannedOrder, Plans, candidates, digest, draws, is_fixed, per_sample, shuffled_rows
from stoker.order.weighted import checked_length

_BALANCED, _STRATIFIED, _PK, _ROWS, _SAMPLES = 0x42414C41, 0x53545241, 0x504B504B, 0x524F5753, 0x53414D50


class _ClassOrder(PlannedOrder):
    """What the orders by class have in common: labels, the table of classes, the samples of the order that is drawn from."""

    _name = ""

    def __init__(self, labels: Any, seed: int, over: Order | None, length: int | None) -> None:
        array = per_sample("labels", labels, over)
        self.classes, self._codes = np.unique(array, return_inverse=True)
        self._seed = seed
        self._over = over
        super().__init__(checked_length(length, len(array) if over is None else len(over)))
        self._tables: Plans[ClassTable] = Plans(self._table)

    def _table(self, epoch: int) -> ClassTable:
        if self._over is None:
            return ClassTable(self._codes, None)
        samples = candidates("labels", len(self._codes), self._over, epoch)
        return ClassTable(self._codes[samples], samples)

    def table(self, epoch: int) -> ClassTable:
        """The classes of the samples that `epoch` draws from."""
        return self._tables(0 if is_fixed(self._over) else epoch)

    def key(self, domain: int, epoch: int) -> int:
        """The key of one use of randomness in `epoch`."""
        return derive(self._seed, domain, epoch)

    @property
    def domain(self) -> int | None:
        return len(self._codes)

    def expected_counts(self) -> dict[str, float]:
        table = self.table(0)
        names = self.classes[table.codes]
        return {str(name): float(n) for name, n in zip(names, self.class_counts(table), strict=True)}

    def class_counts(self, table: ClassTable) -> NDArray[np.float64]:
        """How many samples of each of the table's classes an epoch is expected to hold."""
        raise NotImplementedError

    @cached_property
    def _digest(self) -> str:
        return digest(self._codes) + digest(self.classes)[:4]

    def describe(self) -> dict[str, Any]:
        return {
            "name": self._name, "labels": self._digest, "length": len(self), "seed": self._seed,
            "group_size": self.group_size, **({} if self._over is None else {"over": self._over.describe()}),
        }  # fmt: skip


class ClassBalancedOrder(_ClassOrder):
    """Every class as often as the others: of C classes, each stands once in every C consecutive positions. A plan per epoch.

    Within an epoch a class goes through its samples in shuffled order, and begins again, shuffled anew, when it is
    through: no sample of it comes twice more often than another.

    Args:
        labels: the class of each sample of the dataset, by index: numbers or strings.
        seed: decides the order.
        length: positions per epoch; as many as there are samples to choose from where not given.
        over: the order whose samples are drawn from; all of the dataset where not given.

    Raises:
        ArgumentError: the number of labels is not that of the samples, or there is none.
    """

    _name = "class-balanced"

    def __init__(self, labels: Any, *, seed: int, length: int | None = None, over: Order | None = None) -> None:
        super().__init__(labels, seed, over, length)
        if len(self) and not len(self._codes):
            raise ArgumentError("labels must have at least one; got none.")

    def plan(self, epoch: int) -> NDArray[np.int64]:
        table = self.table(epoch)
        rounds = -(-len(self) // table.num_classes)
        classes = shuffled_rows(self.key(_BALANCED, epoch), rounds, table.num_classes).reshape(-1)[: len(self)]
        return table.draw(classes, self.key(_SAMPLES, epoch))

    def class_counts(self, table: ClassTable) -> NDArray[np.float64]:
        return np.full(table.num_classes, len(self) / table.num_classes)


class StratifiedOrder(_ClassOrder):
    """Batches that all hold every class, in the proportions of the dataset, and at least one sample of each. A plan per epoch.

    How many samples of a class a batch holds is its share of the batch, rounded up or down at random with the right
    expectation (systematic sampling). Classes whose share is less than one sample get one, at the expense of the others.

    Args:
        labels: the class of each sample of the dataset, by index.
        batch_size: rows of the groups that hold every class: the loader's batch_size on each rank, or a divisor of it.
            Where the number of ranks changes, the smallest one that is used.
        seed: decides the order.
        num_batches: groups per epoch; as many as the samples to choose from fill where not given.
        over: the order whose samples are drawn from; all of the dataset where not given.

    Raises:
        ArgumentError: there are more classes than rows in a batch, or none.
    """

    _name = "stratified"

    def __init__(
        self, labels: Any, batch_size: int, *, seed: int, num_batches: int | None = None, over: Order | None = None
    ) -> None:
        if batch_size < 1:
            raise ArgumentError(f"batch_size must be at least 1; got {batch_size}.")
        total = len(per_sample("labels", labels, over)) if over is None else len(over)
        super().__init__(labels, seed, over, checked_length(num_batches, total // batch_size) * batch_size)
        self.group_size = batch_size
        if not 0 < len(self.classes) <= batch_size:
            raise ArgumentError(
                f"every batch can hold every class only where there are between 1 and batch_size of them; got "
                f"{len(self.classes)} classes and batch_size={batch_size}. PKOrder takes some classes for each batch."
            )

    def plan(self, epoch: int) -> NDArray[np.int64]:
        table, size = self.table(epoch), self.group_size
        num_batches = len(self) // size
        whole_rows, parts, total = _quotas(table.counts, size)
        starts = draws(self.key(_STRATIFIED, epoch), np.arange(num_batches, dtype=np.int64)) % np.uint64(max(1, total))
        ends = np.concatenate([[0], np.cumsum(parts)])[None, :] + starts.astype(np.int64)[:, None]
        counts = whole_rows + np.diff(ends // total, axis=1)
        classes = np.repeat(np.tile(np.arange(table.num_classes), num_batches), counts.reshape(-1))
        mixed = shuffled_rows(self.key(_ROWS, epoch), num_batches, size)
        classes = np.take_along_axis(classes.reshape(num_batches, size), mixed, axis=1).reshape(-1)
        return table.draw(classes, self.key(_SAMPLES, epoch))

    def class_counts(self, table: ClassTable) -> NDArray[np.float64]:
        whole_rows, parts, total = _quotas(table.counts, self.group_size)
        counts: NDArray[np.float64] = (whole_rows + parts / total) * (len(self) // self.group_size)
        return counts


def _quotas(counts: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Rows of each class in a batch of `size`: a whole part, at least 1, and numerators over one denominator, which it gives last."""
    rare = np.zeros(len(counts), bool)
    while True:
        rest, total = size - int(rare.sum()), int(counts[~rare].sum())
        rarer = rare | (counts * rest < total)
        if (rarer == rare).all():
            break
        rare = rarer
    total = max(1, total)
    shares = np.where(rare, total, counts * rest)
    return shares // total, shares % total, total


class PKOrder(_ClassOrder):
    """Batches of P classes with K samples of each (metric learning, re-identification). A plan per epoch.

    Classes come in shuffled order, all once before any comes again (save the last few that fill no batch), and so do a
    class's samples, K at a time, different ones in a batch; a class with fewer than K repeats some.

    Args:
        labels: the class of each sample of the dataset, by index.
        num_classes: P, classes in a batch.
        num_samples: K, samples of each of them. P × K is the loader's batch_size on each rank, or a divisor of it.
        seed: decides the order.
        num_batches: batches of P × K per epoch; as many as the samples to choose from fill where not given.
        over: the order whose samples are drawn from; all of the dataset where not given.

    Raises:
        ArgumentError: there are fewer than P classes, or P or K is less than 1.
    """

    _name = "classes × samples"

    def __init__(
        self, labels: Any, num_classes: int, num_samples: int, *, seed: int,
        num_batches: int | None = None, over: Order | None = None,
    ) -> None:  # fmt: skip
        if num_classes < 1 or num_samples < 1:
            raise ArgumentError(f"num_classes and num_samples must be at least 1; got {num_classes} and {num_samples}.")
        size = num_classes * num_samples
        total = len(per_sample("labels", labels, over)) if over is None else len(over)
        super().__init__(labels, seed, over, checked_length(num_batches, total // size) * size)
        self.group_size = size
        self._classes_per_batch, self._per_class = num_classes, num_samples
        self._check_classes(0)

    def _check_classes(self, epoch: int) -> None:
        if len(self) and self.table(epoch).num_classes < self._classes_per_batch:
            raise ArgumentError(
                f"a batch needs {self._classes_per_batch} different classes; there are {self.table(epoch).num_classes}."
            )

    def plan(self, epoch: int) -> NDArray[np.int64]:
        self._check_classes(epoch)
        table, per_batch, per_class = self.table(epoch), self._classes_per_batch, self._per_class
        visits = len(self) // per_class
        used = table.num_classes // per_batch * per_batch  # of one pass over the classes; whole batches of it
        passes = -(-visits // used) if used else 0
        classes = shuffled_rows(self.key(_PK, epoch), passes, table.num_classes)[:, :used].reshape(-1)[:visits]
        chunks = np.maximum(1, table.counts // per_class)[classes]
        pass_number, chunk = np.divmod(table.occurrences(classes), chunks)
        offsets = (chunk[:, None] * per_class + np.arange(per_class)) % table.counts[classes][:, None]
        repeated = np.repeat(classes, per_class), np.repeat(pass_number, per_class)
        return table.pick(*repeated, offsets.reshape(-1), self.key(_SAMPLES, epoch))

    def class_counts(self, table: ClassTable) -> NDArray[np.float64]:
        return np.full(table.num_classes, len(self) / table.num_classes)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "num_classes": self._classes_per_batch}
