"""Who may import whom, what ``import stoker`` brings along, and the names it offers."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stoker

PACKAGE = Path(stoker.__file__).parent

# The rooms from the bottom up. A module imports its own room and lower floors; rooms on one floor are strangers.
FLOORS: list[set[str]] = [
    {"errors", "_native"},
    {"order"},
    {"image", "batch"},
    {"store"},
    {"data"},
    {"engine", "device"},
    {"loader"},
    {"packing", "train", "integrations"},
    {"testing"},
    {"__init__"},  # of the package: `from stoker import Loader` is for those above it
    {"cli"},
]
OPTIONAL = {
    "torchvision", "albumentations", "sklearn", "cv2", "psutil", "h5py", "pyarrow", "datasets",
    "accelerate", "lightning", "transformers",
}  # fmt: skip
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str:
    """The room of ``stoker.room.anything``; the package itself is the room ``__init__``."""
    return [*module.split("."), "__init__"][1]


def imported_modules(source: str) -> Iterator[str]:
    """Every stoker module named in an import, wherever it stands: in a function or under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if room_is_ours(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module is not None and room_is_ours(node.module):
            if node.module == "stoker":  # `from stoker import order` names a room, `from stoker import Loader` the face
                yield from (f"stoker.{alias.name}" if alias.name in FLOOR_OF else "stoker" for alias in node.names)
            else:
                yield node.module


def room_is_ours(module: str) -> bool:
    return module.partition(".")[0] == "stoker"


def complaints(room: str, source: str) -> list[str]:
    return [
        f"{room} imports {module}: {room_of(module)} is not below {room}"
        for module in imported_modules(source)
        if room_of(module) != room and FLOOR_OF[room_of(module)] >= FLOOR_OF[room]
    ]


def room_files() -> list[tuple[str, Path]]:
    paths = sorted(PACKAGE.rglob("*.py"))
    rooms = [(path.relative_to(PACKAGE).with_suffix("").parts[0], path) for path in paths]
    return [(room, path) for room, path in rooms if room != "__init__"]  # the public face names every room, lazily


def test_every_room_has_a_floor() -> None:
    assert {room for room, _ in room_files()} <= set(FLOOR_OF), "a new room needs its floor in FLOORS above"


@pytest.mark.parametrize(("room", "path"), room_files(), ids=lambda value: getattr(value, "stem", value))
def test_imports_point_down(room: str, path: Path) -> None:
    assert complaints(room, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("order", "import stoker.image.pipeline"),
        ("image", "from stoker.batch.slots import Arena"),
        ("data", "def late():\n    from stoker.engine.fetch import Fetcher"),
        ("engine", "from stoker import Loader"),
        ("batch", "from stoker import data"),
    ],
)
def test_an_import_that_points_up_is_seen(room: str, source: str) -> None:
    assert len(complaints(room, source)) == 1


def test_imports_that_point_down_pass() -> None:
    assert (
        complaints("engine", "from stoker.batch import slots\nimport stoker.errors, numpy\nfrom stoker import order")
        == []
    )


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


def roots(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_importing_stoker_imports_nothing_heavy() -> None:
    unwanted = {
        "torch",
        "numpy",
        "PIL",
        "simplejpeg",
        "torchvision",
        "albumentations",
        "rich",
        "click",
        "sklearn",
        "cv2",
        "h5py",
        "pyarrow",
        "datasets",
    }
    assert roots(modules_after("import stoker")) & unwanted == set()


def test_the_loader_imports_no_optional_package_and_no_image_code() -> None:
    modules = modules_after("import stoker; stoker.Loader")
    assert roots(modules) & {"click", "rich", *OPTIONAL} == set()
    assert not {name for name in modules if name.startswith("PIL.") and name.endswith("ImagePlugin")}


def test_the_sources_import_no_optional_package() -> None:
    assert roots(modules_after("import stoker.data, stoker; stoker.open")) & {"click", "rich", *OPTIONAL} == set()


def test_the_command_line_answers_without_torch() -> None:
    assert "torch" not in modules_after("import stoker.cli")


def test_every_public_name_is_there() -> None:
    missing = [name for name in stoker.__all__ if not hasattr(stoker, name)]
    assert missing == []


def test_the_public_names() -> None:
    assert stoker.__all__ == sorted(stoker.__all__)
    assert set(stoker.__all__) == {
        "ArgumentError",
        "DataError",
        "EmptyFolderError",
        "ErrorPolicy",
        "ImageError",
        "Loader",
        "MemoryLimitError",
        "MissingPackageError",
        "SkipSample",
        "StateError",
        "StokerError",
        "StoreError",
        "TravelError",
        "TypeMismatchError",
        "WorkerError",
        "batch",
        "data",
        "device",
        "export",
        "image",
        "open",
        "order",
        "pack",
        "shutdown",
        "train",
        "verify",
    }


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'stoker' has no attribute 'Lodaer'"):
        _ = stoker.Lodaer
