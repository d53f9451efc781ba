"""The split over ranks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import ArgumentError, StateError
from stoker.order.split import Split

splits = st.builds(
    Split,
    length=st.integers(0, 500),
    batch_size=st.integers(1, 20),
    world_size=st.integers(1, 9),
    drop_last=st.booleans(),
    tail=st.sampled_from(["pad", "drop"]),
)


def ranks(split: Split) -> list[Split]:
    return [replace(split, rank=rank) for rank in range(split.world_size)]


@given(splits)
def test_all_ranks_take_the_same_steps_and_together_every_position_once(split: Split) -> None:
    assert len({rank.num_steps for rank in ranks(split)}) == 1
    positions: list[int] = []
    for step in range(split.num_steps):
        for rank in ranks(split):
            rows = rank.rows(step)
            assert rows.stop > rows.start, "a rank without a row would wait for the others"
            positions += range(rows.start, rows.stop) if rows.valid else []
    full = split.length - split.length % split.global_batch_size
    rest = split.length - full
    left_out = split.drop_last or (rest < split.world_size and split.tail == "drop")
    assert positions == list(range(full if left_out else split.length))


@given(splits)
def test_rows_differ_by_one_at_most(split: Split) -> None:
    for step in range(split.num_steps):
        sizes = [rank.rows(step).stop - rank.rows(step).start for rank in ranks(split)]
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= split.batch_size


@given(length=st.integers(0, 500), batch=st.integers(1, 12), factor=st.integers(1, 5))
def test_global_batches_do_not_depend_on_the_number_of_ranks(length: int, batch: int, factor: int) -> None:
    one, many = Split(length, batch * factor), Split(length, batch, world_size=factor)
    assert one.num_steps == many.num_steps
    for step in range(one.num_steps):
        together = [p for rank in ranks(many) if (rows := rank.rows(step)).valid for p in range(rows.start, rows.stop)]
        assert together == list(range(one.rows(step).start, one.rows(step).stop))


@given(splits)
def test_a_state_leads_back_to_its_step(split: Split) -> None:
    for step in range(split.num_steps + 1):
        assert split.step_of(min(step * split.global_batch_size, split.length)) in (step, split.num_steps)


@given(splits)
def test_the_rows_of_an_epoch_are_counted(split: Split) -> None:
    counted = sum(split.rows(step).stop - split.rows(step).start for step in range(split.num_steps))
    assert split.num_rows == counted


def test_a_million_million_samples_over_16384_ranks() -> None:
    split = Split(10**12 + 5, 64, rank=16_383, world_size=16_384, tail="drop")
    assert split.num_steps == 10**12 // (64 * 16_384) + 1
    rows = split.rows(split.num_steps // 2)
    assert rows.stop - rows.start == 64


def test_another_global_batch_size_is_refused_where_it_does_not_fit() -> None:
    with pytest.raises(
        StateError,
        match=r"after 30 samples.*no multiple of this loader's global batch size, 16 \(8 on each of 2 ranks\)",
    ):
        Split(100, 8, world_size=2).step_of(30)
    with pytest.raises(StateError, match="between 0 and 100 samples of the epoch; it says 101"):
        Split(100, 8).step_of(101)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"length": -1}, "length must be at least 0; got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"rank": 2}, r"rank must be in \[0, world_size\); got rank=2, world_size=2"),
        ({"tail": "keep"}, "tail must be 'drop' or 'pad'; got 'keep'"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Split(**{"length": 10, "batch_size": 2, "world_size": 2, **arguments})  # type: ignore[arg-type]


def test_a_step_beyond_the_end_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"step must be in \[0, 5\); got 5"):
        Split(10, 2).rows(5)
