from __future__ import annotations

from dataclasses import dataclass

import pytest
from compare import Contender, Local, Turn, alternate, judge, report


@dataclass
class Scripted(Contender):
    rates: tuple[float, ...] = ()

    def take_turn(self) -> Turn:
        order.append(self.name)
        return Turn(self.rates[order.count(self.name) - 1], 0.5, 1.0, 2**20)


order: list[str] = []


@pytest.fixture(autouse=True)
def _no_turns_yet() -> None:
    order.clear()


def test_all_take_turns_and_the_first_round_does_not_count() -> None:
    contenders = [
        Scripted(name, 10, rates) for name, rates in (("a", (1, 4, 6, 5)), ("b", (9, 2, 2, 8)), ("c", (1,) * 4))
    ]
    alternate(contenders, 3)
    assert order == ["a", "b", "c"] * 4
    assert [contender.rate for contender in contenders] == [5, 2, 1]
    assert contenders[1].warm_up == Turn(9, 0.5, 1.0, 2**20)


def test_the_ratio_is_of_the_medians(capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = Scripted("ours", 10, (1, 6)), Scripted("theirs", 10, (1, 4))
    alternate([theirs, ours], 1)
    report([theirs, ours], 64)
    judge(ours, theirs, 1.5)
    judge(ours, theirs, 1.6)
    lines = capsys.readouterr().out.splitlines()
    assert "384 samples/s" in lines[1]
    assert lines[2:] == ["  ratio 1.50 (goal 1.5, met)", "  ratio 1.50 (goal 1.6, MISSED)"]


def test_a_loader_in_this_process_is_asked_for_its_batches_only() -> None:
    seen: list[int] = []
    contender = Local("range", 3, lambda: iter(range(10)), seen.append)
    assert contender.take_turn().batches_per_s > 0
    assert seen == [0, 1, 2]
