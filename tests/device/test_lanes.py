"""Lanes: every kind of batch arrives; memory is held and released when it is right, seen through a backend that keeps a diary."""

from __future__ import annotations

from collections import OrderedDict, UserDict, namedtuple
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from stoker.device.lanes import PlainLane, StreamLane, as_device, lane_for
from stoker.errors import ArgumentError

Pair = namedtuple("Pair", ["x", "y"])
META = torch.device("meta")  # another device than the CPU, on any machine


@dataclass(frozen=True)
class Frozen:
    images: Any
    name: str


class Own:
    """A batch class of a user's."""

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values

    def to(self, device: Any, non_blocking: bool = False) -> Own:
        return Own(self.values.to(device))


def nested() -> Any:
    tensor = torch.arange(6).reshape(2, 3)
    return {
        "tensor": tensor,
        "same": tensor,
        "list": [tensor + 1, "text", 3, None],
        "tuple": (tensor + 2, (tensor + 3,)),
        "named": Pair(tensor + 4, {"deep": tensor + 5}),
        "ordered": OrderedDict(a=tensor + 6),
        "user": UserDict(a=tensor + 7),
        "data": Frozen(tensor + 8, "name"),
        "own": Own(tensor + 9),
        "packed": torch.nn.utils.rnn.pack_sequence([tensor[0], tensor[1, :2]]),
        "sparse": torch.eye(2).to_sparse(),
        "array": np.arange(3),
    }


def assert_moved(moved: Any, device: torch.device) -> None:
    given = nested()
    assert list(moved) == list(given)
    assert moved["tensor"] is moved["same"]
    for found, expected in [
        (moved["tensor"], given["tensor"]),
        (moved["list"][0], given["list"][0]),
        (moved["tuple"][1][0], given["tuple"][1][0]),
        (moved["named"].y["deep"], given["named"].y["deep"]),
        (moved["ordered"]["a"], given["ordered"]["a"]),
        (moved["user"]["a"], given["user"]["a"]),
        (moved["data"].images, given["data"].images),
        (moved["own"].values, given["own"].values),
        (moved["packed"].data, given["packed"].data),
        (moved["sparse"], given["sparse"]),
    ]:
        assert found.device.type == device.type
        assert found.shape == expected.shape
        if device != META and not expected.is_sparse:
            assert torch.equal(found.cpu(), expected)
    assert moved["list"][1:] == ["text", 3, None]
    assert [type(moved[name]) for name in moved] == [type(value) for value in given.values()]
    assert moved["data"].name == "name"


@pytest.mark.parametrize("device", ["cpu", "meta", pytest.param("cuda", marks=pytest.mark.needs_cuda)])
def test_every_kind_of_batch_arrives(device: str) -> None:
    lane = lane_for(as_device(device))
    batch = nested()
    moved = lane.receive(lane.send(batch, None))
    assert_moved(moved, torch.device(device))
    assert batch["data"].images.device.type == "cpu", "the given batch was changed"


def test_a_transform_runs_behind_the_copy() -> None:
    lane = PlainLane(META)
    sent = lane.send([torch.ones(3)], lambda batch: [batch[0] * 2, batch[0].device.type])
    assert lane.receive(sent)[1] == "meta"


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"device must be a torch device such as 'cuda'.*got 'gpu'"):
        as_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ArgumentError, match=r"device='cuda' is not available on this machine; torch.cuda.is_avail"):
            as_device("cuda")


# A lane with streams, on a backend that keeps a diary


class Diary:
    """Looks like ``torch.cuda``; copies happen at once, events pass when the test says so."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.passed: set[Any] = set()
        self.current: Any = DiaryStream(self, "loop")
        self.Stream = lambda device: DiaryStream(self, "lane")
        self.Event = lambda: DiaryEvent(self)

    def current_stream(self, device: Any) -> Any:
        return self.current

    @contextmanager
    def stream(self, stream: Any) -> Any:
        before, self.current = self.current, stream
        yield
        self.current = before


class DiaryStream:
    def __init__(self, diary: Diary, name: str) -> None:
        self.diary, self.name = diary, name

    def wait_event(self, event: Any) -> None:
        self.diary.lines.append(f"{self.name} waits for event {event.number}")

    def wait_stream(self, stream: Any) -> None:
        self.diary.lines.append(f"{self.name} waits for {stream.name}")


class DiaryEvent:
    count = 0

    def __init__(self, diary: Diary) -> None:
        self.diary, self.number = diary, DiaryEvent.count
        DiaryEvent.count += 1

    def record(self, stream: Any) -> None:
        self.diary.lines.append(f"event {self.number} on {stream.name}")

    def query(self) -> bool:
        return self.number in self.diary.passed


class Tracked(torch.Tensor):
    """Notes on which stream it is pinned, copied and recorded."""

    diary: Diary

    def pin_memory(self, device: Any = None) -> Any:
        self.diary.lines.append("pinned")
        return self

    def to(self, *arguments: Any, **keywords: Any) -> Any:
        self.diary.lines.append(f"copied on {self.diary.current.name}{' at once' if not keywords else ''}")
        return self

    def record_stream(self, stream: Any) -> None:
        self.diary.lines.append(f"recorded on {stream.name}")


@pytest.fixture
def diary(monkeypatch: pytest.MonkeyPatch) -> Diary:
    diary = Diary()
    monkeypatch.setattr(Tracked, "diary", diary, raising=False)
    monkeypatch.setattr(DiaryEvent, "count", 0)
    return diary


def tracked() -> Tracked:
    return torch.zeros(2).as_subclass(Tracked)


def test_a_copy_is_ordered_before_the_loop_s_use_of_it(diary: Diary) -> None:
    lane = StreamLane(torch.device("cpu", 0), diary)
    sent = lane.send((tracked(),), lambda batch: [diary.lines.append(f"worked on {diary.current.name}"), batch][1])
    assert diary.lines == ["pinned", "copied on lane", "worked on lane", "event 0 on lane"]
    diary.lines.clear()
    lane.receive(sent)
    assert diary.lines == ["loop waits for event 0"]  # of another device than the lane's: nothing to record


def test_what_arrives_is_recorded_on_the_loop_s_stream(diary: Diary) -> None:
    lane = StreamLane(torch.device("cpu"), diary)
    sent = lane.send([tracked()], None)
    # It was on the device already: the lane waits for whoever made it.
    assert diary.lines == ["pinned", "lane waits for loop", "recorded on lane", "event 0 on lane"]
    diary.lines.clear()
    lane.receive(sent)
    assert diary.lines == ["loop waits for event 0", "recorded on loop"]


def test_pinned_memory_is_held_until_its_copy_is_done(diary: Diary) -> None:
    import gc
    import weakref

    lane = StreamLane(torch.device("cpu", 0), diary)
    batches = [tracked() for _ in range(3)]
    held = [weakref.ref(batch) for batch in batches]
    for batch in batches:
        lane.send([batch], None)
    batches.clear()
    del batch
    gc.collect()
    assert all(reference() is not None for reference in held)
    diary.passed |= {0, 1}
    lane.send([tracked()], None)
    gc.collect()
    assert [reference() is None for reference in held] == [True, True, False]


def test_what_cannot_be_recorded_is_copied_on_the_loop_s_stream(diary: Diary) -> None:
    lane = StreamLane(torch.device("cpu", 0), diary)
    sent = lane.send({"own": Own(tracked())}, None)
    assert diary.lines == ["event 0 on lane"]
    lane.receive(sent)
    assert diary.lines[1:] == ["loop waits for event 0", "copied on loop at once"]


@pytest.mark.needs_cuda
def test_many_batches_arrive_whole_while_the_device_is_busy() -> None:
    """Memory that is used too early, or given away too early, shows as wrong numbers."""
    lane = lane_for(torch.device("cuda"))
    weights = torch.randn(2048, 2048, device="cuda")
    sums = []
    for number in range(60):
        batch = torch.full((1 << 20,), float(number))
        sent = lane.send([batch], lambda batch: [batch[0] * 2])
        batch.fill_(-1)  # the pageable source is the caller's again
        for _ in range(4):
            weights = torch.nn.functional.normalize(weights @ weights)
        [arrived] = lane.receive(sent)
        sums.append(arrived.sum())
        del arrived
    assert [value.item() / (1 << 20) for value in sums] == [2.0 * number for number in range(60)]
