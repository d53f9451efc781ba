"""Objects by name, as commands take them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stoker.cli.objects import is_reference, named_dataset, named_object
from stoker.errors import ArgumentError

MODULE = """
import stoker.order
class Rows:
    def __len__(self): return 3
    def __getitem__(self, index): return index
    def __call__(self): raise AssertionError("a dataset is no function")
rows = Rows()
def make(): return [1, 2]
path = "somewhere"
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "objects_for_a_test.py").write_text(MODULE)
    (tmp_path / "needs_another.py").write_text("import a_module_that_is_not_there")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "objects_for_a_test", raising=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:b", True),
        ("a.b:c.d", True),
        ("a/b:c", False),
        ("photos", False),
        ("http://a", False),
        ("a:", False),
        ("1:2", False),
    ],
)
def test_an_object_is_told_from_a_path(text: str, expected: bool) -> None:
    assert is_reference(text) is expected


def test_a_path_that_is_there_is_a_path() -> None:
    Path("a:b").mkdir()
    assert not is_reference("a:b")


def test_modules_of_the_current_directory_are_found() -> None:
    assert named_object("objects_for_a_test:path") == "somewhere"
    assert len(named_object("objects_for_a_test:stoker.order").__name__)


def test_a_dataset_is_taken_as_it_is_and_a_function_or_class_is_called() -> None:
    assert len(named_dataset("objects_for_a_test:rows")) == 3
    assert named_dataset("objects_for_a_test:make") == [1, 2]
    assert len(named_dataset("objects_for_a_test:Rows")) == 3
    assert named_dataset("objects_for_a_test:path") == "somewhere"


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("nonsense", "name an object as module:attribute .*; got 'nonsense'"),
        ("no_such_module:x", "there is no module 'no_such_module', neither in .* nor installed"),
        ("stoker.no_such_room:x", "there is no module 'stoker.no_such_room'"),
        (
            "objects_for_a_test:rowz",
            "objects_for_a_test has no attribute 'rowz'; it has Rows, make, path, rows, stoker",
        ),
        ("objects_for_a_test:path.x", "objects_for_a_test:path has no attribute 'x'"),
    ],
)
def test_what_is_not_there_is_told(reference: str, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        named_object(reference)


def test_a_module_that_fails_to_import_another_says_so_itself() -> None:
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        named_object("needs_another:x")
