"""Every page of the documentation does what it shows: its Python blocks run, in order, as one script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(page for page in sorted((ROOT / "docs" / "cookbook").glob("*.md")) if page.name != "index.md"),
    ROOT / "docs" / "migration.md",
]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def script(page: Path) -> str:
    """The page's blocks, each on the line that it has in the page: a traceback then says where."""
    text = page.read_text()
    lines = [""] * (text.count("\n") + 1)
    for block in _BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        for offset, line in enumerate(block[1].splitlines()):
            lines[first + offset] = line
    return "\n".join(lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_shows(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = script(page)
    assert source.strip(), f"{page} shows no Python"
    monkeypatch.chdir(tmp_path)
    exec(compile(source, str(page), "exec"), {"__name__": "page"})


def test_there_is_a_page_for_each_task_and_the_index_names_it() -> None:
    index = (ROOT / "docs" / "cookbook" / "index.md").read_text()
    pages = {page.name for page in PAGES if page.parent.name == "cookbook"} - {"index.md"}
    assert pages == set(re.findall(r"\]\((\S+?\.md)\)", index))
    assert len(pages) == 9
