"""The executor test kit: what every executor has to do. Subclass `ExecutorTests` in a test module, and pytest runs it.

class TestMyExecutor(ExecutorTests):
    arguments = {"executor": "process", "num_workers": 2}
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

import pytest
import torch
from torch.utils.data import Dataset

from stoker.loader import Loader
from stoker.testing.datasets import Counting, Noisy
from stoker.testing.hashes import batch_hash, epoch_hashes
from stoker.testing.resume import assert_resumes_at_every_batch


class ExecutorTests:
    """Each test compares a loader with `arguments` to the inline executor, which is the reference: it does nothing clever."""

    arguments: ClassVar[dict[str, Any]]
    owns_generators: ClassVar[bool] = True
    """Whether code that draws from the global generators can run (it cannot in threads)."""

    def make(self, dataset: Any, **arguments: Any) -> Loader:
        """The loader under test."""
        return Loader(dataset, **{"seed": 3, **self.arguments, **arguments})

    def reference(self, dataset: Any, **arguments: Any) -> Loader:
        """The loader it must agree with."""
        return Loader(dataset, **{"seed": 3, "executor": "inline", **arguments})

    def assert_agrees(self, dataset: Any, epochs: int = 1, **arguments: Any) -> None:
        """All batches of all epochs, bit for bit."""
        ours, theirs = self.make(dataset, **arguments), self.reference(dataset, **arguments)
        for epoch in range(epochs):
            assert epoch_hashes(ours) == epoch_hashes(theirs), f"epoch {epoch} differs"

    @pytest.mark.parametrize("batch_size", [1, 7, 64, 200])
    @pytest.mark.parametrize("shuffle", [False, True])
    def test_batches_are_the_inline_ones(self, batch_size: int, shuffle: bool) -> None:
        self.assert_agrees(Counting(100), epochs=2, batch_size=batch_size, shuffle=shuffle)

    def test_every_sample_comes_once(self) -> None:
        seen = [int(index) for batch in self.make(Counting(101), batch_size=8, shuffle=True) for index in batch[:, 0]]
        assert sorted(seen) == list(range(101))
        assert seen != sorted(seen)

    def test_drop_last(self) -> None:
        self.assert_agrees(Counting(20), batch_size=8, drop_last=True)

    def test_randomness_belongs_to_the_sample(self) -> None:
        if self.owns_generators:
            self.assert_agrees(Noisy(50), epochs=2, batch_size=8, shuffle=True)
        else:
            with pytest.raises(ValueError, match=r"draws from random, numpy\.random or torch"):
                next(iter(self.make(Noisy(50), batch_size=8)))

    def test_the_loop_s_generators_are_left_alone(self) -> None:
        random.seed(1)
        torch.manual_seed(2)
        expected = [(random.random(), torch.rand(()).item()) for _ in range(10)]
        random.seed(1)
        torch.manual_seed(2)
        loader = self.make(Failing(40, set()), batch_size=4)  # unknown code, which might draw
        assert [(random.random(), torch.rand(()).item()) for _ in loader] == expected

    @pytest.mark.parametrize("persistent_workers", [False, True])
    def test_persistence_changes_nothing(self, persistent_workers: bool) -> None:
        extra = {} if self.arguments.get("executor") == "inline" else {"persistent_workers": persistent_workers}
        ours, theirs = (
            self.make(Counting(30), batch_size=4, shuffle=True, **extra),
            self.reference(Counting(30), batch_size=4, shuffle=True),
        )
        for _ in range(4):
            assert epoch_hashes(ours) == epoch_hashes(theirs)

    @pytest.mark.parametrize("kind", ["tuple", "dict", "nested", "strings", "numpy", "scalars", "bfloat16", "empty"])
    def test_structures(self, kind: str) -> None:
        self.assert_agrees(Structured(40, kind), batch_size=8)

    def test_batches_of_other_shapes(self) -> None:
        self.assert_agrees(Growing(32), batch_size=4)

    def test_a_batch_of_unequal_shapes_is_torch_s_own_error(self) -> None:
        with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size"):
            list(self.make(Growing(32), batch_size=5))

    def test_mixed_numbers_are_collated_as_torch_does(self) -> None:
        self.assert_agrees(MixedNumbers(20), batch_size=4)

    def test_own_collate_fn(self) -> None:
        self.assert_agrees(Counting(20), batch_size=3, collate_fn=as_text_and_sum)

    def test_single_samples(self) -> None:
        self.assert_agrees(Counting(10), batch_size=None, shuffle=True)

    def test_getitems(self) -> None:
        self.assert_agrees(ByList(20), batch_size=6, shuffle=True)

    def test_a_users_sampler(self) -> None:
        self.assert_agrees(Counting(20), batch_size=4, sampler=[5, 3, 3, 19, 0, 7, 8])

    def test_a_users_batch_sampler(self) -> None:
        self.assert_agrees(Counting(20), batch_sampler=[[1], [2, 3], [4, 5, 6], []][:3])

    def test_left_early_the_next_epoch_is_whole(self) -> None:
        ours, theirs = (
            self.make(Counting(60), batch_size=4, shuffle=True),
            self.reference(Counting(60), batch_size=4, shuffle=True),
        )
        for loader in (ours, theirs):
            for step, _ in enumerate(loader):
                if step == 2:
                    break
        assert epoch_hashes(ours) == epoch_hashes(theirs)

    def test_kept_batches_stay_as_they_were(self) -> None:
        kept = list(self.make(Images(48), batch_size=4))
        for step, batch in enumerate(kept):
            assert batch[:, 0, 0, 0].tolist() == list(range(4 * step, 4 * step + 4))

    def test_batches_are_private_and_writable(self) -> None:
        dataset = Images(48)
        for batch in self.make(dataset, batch_size=4, num_workers=self.arguments.get("num_workers", 0)):
            batch.fill_(-1)
        self.assert_agrees(dataset, batch_size=4)

    def test_a_part_of_a_batch_keeps_it_alive(self) -> None:
        parts = [batch[1, :, 3] for batch in self.make(Images(64), batch_size=4)]
        assert [int(part[0, 0]) for part in parts] == list(range(1, 64, 4))

    def test_errors_have_their_type_and_name_the_sample(self) -> None:
        with pytest.raises(LookupError, match="no such thing") as caught:
            list(self.make(Failing(20, {13}), batch_size=4))
        assert "sample 13" in str(caught.value) + "".join(getattr(caught.value, "__notes__", []))

    def test_after_an_error_the_next_batches_can_still_be_had(self) -> None:
        loader = self.make(Failing(20, {5, 13}), batch_size=4)
        iterator, seen = iter(loader), []
        while True:
            try:
                seen.append(next(iterator)[0, 0].item())
            except LookupError:
                seen.append(None)
            except StopIteration:
                break
        assert seen == [0, None, 8, None, 16]
        assert loader.state_dict()["epoch"] == 1

    def test_after_an_error_the_loader_goes_on(self) -> None:
        loader = self.make(Failing(20, {13}), batch_size=4)
        for _ in range(2):
            with pytest.raises(LookupError):
                list(loader)

    def test_skipped_samples_are_left_out_in_order(self) -> None:
        loader = self.make(Failing(12, {1, 4, 5, 6, 7}), batch_size=4, on_error="skip")
        assert [batch[:, 0].tolist() for batch in loader] == [[0, 2, 3], [8, 9, 10, 11]]

    def test_skipped_samples_are_replaced_when_shuffled(self) -> None:
        self.assert_agrees(Failing(40, {3, 30}), epochs=2, batch_size=8, shuffle=True, on_error="skip")
        sizes = [len(batch) for batch in self.make(Failing(40, {3, 30}), batch_size=8, shuffle=True, on_error="skip")]
        assert sizes == [8] * 5

    def test_two_iterators_at_once(self) -> None:
        loader = self.make(Counting(40), batch_size=4, shuffle=True)
        first, second = iter(loader), iter(loader)
        pairs = [(batch_hash(a), batch_hash(b)) for a, b in zip(first, second, strict=True)]
        reference = self.reference(Counting(40), batch_size=4, shuffle=True)
        assert pairs == list(zip(epoch_hashes(reference), epoch_hashes(reference), strict=True))

    def test_out_of_order_nothing_is_lost(self) -> None:
        loader = self.make(Counting(60, delay_s=0.0005), batch_size=4, in_order=False)
        assert sorted(int(i) for batch in loader for i in batch[:, 0]) == list(range(60))

    def test_resumes_at_every_batch(self) -> None:
        def make() -> Loader:
            return self.make(Counting(18), batch_size=4, shuffle=True)

        assert_resumes_at_every_batch(make, [make, lambda: self.reference(Counting(18), batch_size=4, shuffle=True)])

    def test_an_empty_dataset_has_no_batches(self) -> None:
        assert list(self.make(Counting(0), batch_size=4)) == []


class Structured(Dataset[Any]):
    """Samples of the structures that torch's collate knows."""

    def __init__(self, length: int, kind: str) -> None:
        self.length = length
        self.kind = kind

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        row = torch.arange(4) + index
        samples: dict[str, Any] = {
            "tuple": (row.float(), index),
            "dict": {"row": row, "even": index % 2 == 0, "share": index / 7},
            "nested": {"pair": (row, [row.double(), index])},
            "strings": (row, f"sample {index}"),
            "numpy": (row.numpy().astype("float32"), row.numpy()[0]),
            "scalars": index,
            "bfloat16": row.to(torch.bfloat16),
            "empty": (torch.zeros(0, 3), row),
        }
        return samples[self.kind]


class Growing(Dataset[torch.Tensor]):
    """Sample i has i // 4 + 1 elements."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((index // 4 + 1,), index)


class MixedNumbers(Dataset[Any]):
    """Ints and floats in one column."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int | float:
        return index if index % 3 else index / 2


class Images(Dataset[torch.Tensor]):
    """Sample i is int32 [3, 64, 64] of i: batches large enough to be lent."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((3, 64, 64), index, dtype=torch.int32)


class ByList(Counting):
    """Hands out samples by the list, as torch's protocol has it."""

    def __getitems__(self, indices: list[int]) -> list[torch.Tensor]:
        return [torch.tensor([index, len(indices)]) for index in indices]


class Failing(Counting):
    """Counting, except that the samples in `bad` raise."""

    def __init__(self, length: int, bad: set[int]) -> None:
        super().__init__(length)
        self.bad = bad

    def __getitem__(self, index: int) -> torch.Tensor:
        if index in self.bad:
            raise LookupError("no such thing")
        return super().__getitem__(index)


def as_text_and_sum(samples: list[torch.Tensor]) -> tuple[list[str], torch.Tensor]:
    """A collate function of a user's own."""
    return [str(sample.tolist()) for sample in samples], torch.stack(samples).sum(0)
