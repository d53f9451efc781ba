"""What becomes of samples: default_collate, default_convert, a user's own types, pinning."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from stoker.engine import iterator as stoker_iterator
from tests.fidelity.loaders import as_is, both_loaders, outline, with_and_without_workers

Pair = namedtuple("Pair", ["data", "label"])


class Typed(NamedTuple):
    image: torch.Tensor
    size: tuple[int, int]


@dataclass
class Record:
    value: int


class OwnDict(dict[str, Any]):
    """A user's mapping."""


class OwnList(list[Any]):
    """A user's sequence."""


def rows(*samples: Any) -> list[Any]:
    return list(samples)


COLLATED: dict[str, tuple[list[Any], Any]] = {
    "ints": (rows(1, 2), ("torch.int64", [1, 2])),
    "floats": (rows(1.5, 2.5), ("torch.float64", [1.5, 2.5])),
    "bools": (rows(True, False), ("torch.bool", [True, False])),
    "strings": (rows("a", "b"), ("list", [("str", "a"), ("str", "b")])),
    "bytes": (rows(b"a", b"b"), ("list", [("bytes", b"a"), ("bytes", b"b")])),
    "tensors": (rows(torch.ones(1), torch.zeros(1)), ("torch.float32", [[1], [0]])),
    "arrays": (rows(np.ones(1, np.int16), np.zeros(1, np.int16)), ("torch.int16", [[1], [0]])),
    "empty tensors": (rows(torch.empty(0), torch.empty(0)), ("torch.float32", [[], []])),
    "tuples": (rows((1, "a"), (2, "b")), ("list", [("torch.int64", [1, 2]), ("tuple", [("str", "a"), ("str", "b")])])),
    "lists": (rows([1, 2.0], [3, 4.0]), ("list", [("torch.int64", [1, 3]), ("torch.float64", [2, 4])])),
    "dicts": (
        rows({"a": 1, "b": {"c": 2.0}}, {"a": 3, "b": {"c": 4.0}}),
        ("dict", {"a": ("torch.int64", [1, 3]), "b": ("dict", {"c": ("torch.float64", [2, 4])})}),
    ),
    "named tuples": (
        rows(Pair(Pair(1, 2), "x"), Pair(Pair(3, 4), "y")),
        (
            "Pair",
            [
                ("Pair", [("torch.int64", [1, 3]), ("torch.int64", [2, 4])]),
                ("tuple", [("str", "x"), ("str", "y")]),
            ],
        ),
    ),
    "typed named tuples": (
        rows(Typed(torch.ones(1), (3, 4)), Typed(torch.zeros(1), (5, 6))),
        (
            "Typed",
            [("torch.float32", [[1], [0]]), ("list", [("torch.int64", [3, 5]), ("torch.int64", [4, 6])])],
        ),
    ),
    "a mapping of a user's": (rows(OwnDict(a=1), OwnDict(a=2)), ("OwnDict", {"a": ("torch.int64", [1, 2])})),
    "an ordered mapping": (
        rows(OrderedDict(b=1, a=2), OrderedDict(b=3, a=4)),
        ("OrderedDict", {"b": ("torch.int64", [1, 3]), "a": ("torch.int64", [2, 4])}),
    ),
    "a sequence of a user's": (rows(OwnList([1]), OwnList([2])), ("OwnList", [("torch.int64", [1, 2])])),
    "ranges": (rows(range(2), range(2)), ("list", [("torch.int64", [0, 0]), ("torch.int64", [1, 1])])),
    "numbers of two kinds": (rows(1, 2.5), ("torch.float32", [1, 2.5])),
}
SCALARS = [np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]


@both_loaders
@pytest.mark.parametrize("name", COLLATED)
def test_default_collate(make: Any, name: str) -> None:
    samples, expected = COLLATED[name]
    assert outline(next(iter(make(samples, batch_size=2)))) == expected


@both_loaders
def test_default_collate_in_workers(make: Any) -> None:
    samples = [sample for samples, _ in COLLATED.values() for sample in samples]
    loader = make(samples, batch_size=2, num_workers=2)
    assert [outline(batch) for batch in loader] == [expected for _, expected in COLLATED.values()]


@both_loaders
@pytest.mark.parametrize("num_workers", [0, 1])
def test_numpy_scalars_keep_their_dtype(make: Any, num_workers: int) -> None:
    samples = [kind(value) for kind in SCALARS for value in (0, 1)]
    batches = list(make(samples, batch_size=2, num_workers=num_workers))
    assert [batch.dtype for batch in batches] == [torch.from_numpy(np.zeros(1, kind)).dtype for kind in SCALARS]
    assert [batch.tolist() for batch in batches] == [[0, 1]] * len(SCALARS)


REFUSED: dict[str, tuple[list[Any], type[Exception], str]] = {
    "dataclasses": (rows(Record(1), Record(2)), TypeError, "must contain tensors, numpy arrays, .*found .*Record"),
    "None": (rows(None, None), TypeError, "must contain tensors, numpy arrays.*NoneType"),
    "texts in arrays": (rows(np.array(["a"]), np.array(["b"])), TypeError, "must contain tensors, numpy arrays"),
    "objects in arrays": (rows(np.array([object()]), np.array([object()])), TypeError, "must contain tensors, numpy"),
    "unequal shapes": (rows(torch.ones(1), torch.ones(2)), RuntimeError, "stack expects each tensor to be equal size"),
    "unequal lengths": (rows(["x"], ["x", "x"]), RuntimeError, "each element in list of batch should be of equal size"),
    "unequal keys": (rows({"a": 1}, {"b": 1}), KeyError, "a"),
    "sparse tensors": (
        rows(torch.eye(2).to_sparse(), torch.eye(2).to_sparse()),
        RuntimeError,
        "Batches of sparse tensors are not currently supported by the default collate_fn",
    ),
    "nested tensors": (
        rows(*[torch.nested.nested_tensor([torch.ones(2)], layout=torch.jagged) for _ in range(2)]),
        RuntimeError,
        "Batches of nested tensors are not currently supported by the default collate_fn",
    ),
}


@both_loaders
@pytest.mark.parametrize("name", REFUSED)
def test_what_default_collate_refuses(make: Any, name: str) -> None:
    samples, error, text = REFUSED[name]
    with pytest.raises(error, match=text):
        next(iter(make(samples, batch_size=2)))


@both_loaders
def test_what_default_collate_refuses_in_workers(make: Any) -> None:
    samples = [sample for samples, _, _ in REFUSED.values() for sample in samples]
    iterator = iter(make(samples, batch_size=2, num_workers=1))
    for _, error, text in REFUSED.values():
        with pytest.raises(error, match=text):
            next(iterator)
    assert next(iterator, None) is None


CONVERTED: dict[str, tuple[Any, Any]] = {
    "number": (3, ("int", 3)),
    "string": ("a", ("str", "a")),
    "array": (np.array([1, 2]), ("torch.int64", [1, 2])),
    "numpy scalar": (np.float32(2.5), ("torch.float32", 2.5)),
    "texts in an array": (np.array("a"), ("ndarray", np.array("a"))),
    "tuple": ((np.zeros(1), "a"), ("list", [("torch.float64", [0]), ("str", "a")])),
    "named tuple": (Pair(np.zeros(1), 1), ("Pair", [("torch.float64", [0]), ("int", 1)])),
    "dict": ({"a": np.zeros(1), "b": None}, ("dict", {"a": ("torch.float64", [0]), "b": ("NoneType", None)})),
    "a mapping of a user's": (OwnDict(a=np.zeros(1)), ("OwnDict", {"a": ("torch.float64", [0])})),
    "a sequence of a user's": (OwnList([1, 2]), ("OwnList", [("int", 1), ("int", 2)])),
    "range": (range(2), ("list", [("int", 0), ("int", 1)])),
    "dataclass": (Record(3), ("Record", Record(3))),
}


@both_loaders
@with_and_without_workers
def test_default_convert(make: Any, num_workers: int) -> None:
    loader = make([value for value, _ in CONVERTED.values()], batch_size=None, num_workers=num_workers)
    assert [outline(sample) for sample in loader] == [expected for _, expected in CONVERTED.values()]


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch warns of each of these kinds
@both_loaders
@with_and_without_workers
def test_tensors_that_are_no_plain_arrays(make: Any, num_workers: int) -> None:
    values = [
        torch.eye(3).to_sparse(),
        torch.eye(3).to_sparse_csr(),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
        torch.ones(2, dtype=torch.bfloat16),
        torch.ones(2, dtype=torch.complex64).conj(),
        torch.ones(4, 5).t()[1:],
    ]
    for found, value in zip(make(values, batch_size=None, num_workers=num_workers), values, strict=True):
        assert (found.layout, found.dtype, found.is_nested) == (value.layout, value.dtype, value.is_nested)
        if value.is_nested:
            assert [part.tolist() for part in found.unbind()] == [part.tolist() for part in value.unbind()]
        else:
            assert found.to_dense().tolist() == value.to_dense().tolist()


class OwnBatch:
    """What a collate function of a user's may return; it says how it is pinned."""

    def __init__(self, samples: list[Any]) -> None:
        self.values = torch.tensor(samples)
        self.pinned = False

    def pin_memory(self) -> OwnBatch:
        self.pinned = True
        return self


@both_loaders
@with_and_without_workers
def test_a_user_s_own_batch_and_parameter(make: Any, num_workers: int) -> None:
    batches = list(make([1, 2, 3], batch_size=2, collate_fn=OwnBatch, num_workers=num_workers))
    assert [(type(batch), batch.values.tolist()) for batch in batches] == [(OwnBatch, [1, 2]), (OwnBatch, [3])]
    parameters = list(make([torch.ones(2, requires_grad=True)], collate_fn=lambda rows: rows[0].detach() * 2))
    assert parameters[0].tolist() == [2, 2]


@both_loaders
def test_pin_memory_without_an_accelerator_is_warned_of(make: Any) -> None:
    if torch.accelerator.is_available():
        pytest.skip("there is an accelerator")
    with pytest.warns(UserWarning, match="'pin_memory' argument is set as true but no accelerator is found"):
        batches = list(make([1, 2], batch_size=2, pin_memory=True))
    assert batches[0].tolist() == [1, 2]


@pytest.mark.filterwarnings("ignore:.*no accelerator is found:UserWarning")
@both_loaders
def test_pin_memory_device_is_deprecated(make: Any) -> None:
    with pytest.warns(UserWarning, match="pin_memory_device is deprecated"):
        list(make([1, 2], pin_memory=True, pin_memory_device="cuda"))


@both_loaders
def test_a_class_with_pin_memory_is_asked_to_pin_itself(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    frozen = MappingProxyType({"own": OwnBatch([1])})
    for batch in (OwnBatch([1]), [OwnBatch([1])], {"own": OwnBatch([1])}, Pair(OwnBatch([1]), "x"), frozen):
        (found,) = make([0], pin_memory=True, collate_fn=lambda samples, batch=batch: batch)
        values = found.values() if isinstance(found, dict | MappingProxyType) else found
        inside = values if isinstance(found, OwnBatch) is False else [found]
        assert next(iter(inside)).pinned


@pytest.mark.needs_cuda
@both_loaders
@with_and_without_workers
def test_pinned_batches(make: Any, num_workers: int) -> None:
    samples = [{"a": torch.ones(2) * n, "b": (n, str(n)), "c": Pair(n, n)} for n in range(4)]
    for batch in make(samples, batch_size=2, pin_memory=True, num_workers=num_workers):
        assert batch["a"].is_pinned()
        assert batch["b"][0].is_pinned()
        assert batch["c"].label.is_pinned()
        assert isinstance(batch["b"][1][0], str)
    for own in make([1, 2, 3], pin_memory=True, collate_fn=OwnBatch, num_workers=num_workers):
        assert own.pinned
    assert stoker_iterator.can_pin()


@both_loaders
def test_a_collate_function_may_return_anything(make: Any) -> None:
    assert list(make([1, 2, 3], batch_size=2, collate_fn=as_is, num_workers=1)) == [[1, 2], [3]]
    assert list(make([1, 2], batch_size=2, collate_fn=lambda samples: None)) == [None]
