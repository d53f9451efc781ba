from __future__ import annotations

from table import Row, markdown, rows_of

OUTPUT = """\
batch 64, torch in its own process
  torch, 0 workers      354,674 samples/s
  stoker              5,263,029 samples/s
  ratio 14.84 (goal 10, met)
first batch, workers up
  ratio 0.51 of torch's time (goal at most 0.55, met)
"""


def test_titles_ratios_and_goals_are_read() -> None:
    assert list(rows_of("rows.py", OUTPUT.splitlines())) == [
        Row("rows.py", "batch 64, torch in its own process", "14.84", "10"),
        Row("rows.py", "first batch, workers up", "0.51 of torch's time", "at most 0.55"),
    ]


def test_the_table_is_markdown() -> None:
    table = markdown([Row("rows.py", "batch 64", "14.84", "10")])
    assert table.splitlines()[-1] == "| `rows.py` | batch 64 | 14.84 | 10 |"
