from __future__ import annotations

import torch

from stoker.cli.demo.training import Learner, digest

IMAGES = torch.arange(4 * 3 * 16 * 16).remainder(251).to(torch.uint8).reshape(4, 3, 16, 16)
LABELS = torch.tensor([0, 1, 0, 1])


def test_a_digest_sees_every_column_and_every_byte() -> None:
    other = IMAGES.clone()
    other[-1, -1, -1, -1] += 1
    digests = {digest([IMAGES, LABELS]), digest([other, LABELS]), digest([IMAGES, 1 - LABELS]), digest(IMAGES)}
    assert len(digests) == 4
    assert digest([IMAGES.clone(), LABELS.clone()]) == digest([IMAGES, LABELS])


def test_a_digest_is_of_the_values_and_not_of_their_layout() -> None:
    assert digest(IMAGES.contiguous(memory_format=torch.channels_last)) == digest(IMAGES)


def test_learners_begin_alike_and_leave_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    first, second = Learner(2), Learner(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, first.network.parameters(), second.network.parameters()))


def test_the_loss_falls_with_labels_and_without() -> None:
    for learner, batch in ((Learner(2), [IMAGES, LABELS]), (Learner(0), IMAGES)):
        losses = [learner.learn(batch) for _ in range(30)]
        assert losses[-1] < losses[0]
