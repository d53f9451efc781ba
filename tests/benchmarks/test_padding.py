from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from padding import bucketed, docstrings, documents, measure


def test_buckets_hold_every_document_once() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    batches = bucketed(lengths, 8)
    assert sorted(number for batch in batches for number in batch) == list(range(1000))
    assert {len(batch) for batch in batches} == {8}


def test_documents_are_docstrings_without_repeats(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        '"""It counts what there is."""\n\ndef f():\n    """It counts what there is."""\n'
    )
    (tmp_path / "broken.py").write_text("def")
    (found,) = documents(docstrings(tmp_path), 10)
    assert found.tolist() == [1, 2, 3, 4, 5, 6]


def test_waste_is_least_where_documents_are_packed() -> None:
    ids = [torch.arange(1, n + 1) for n in np.random.default_rng(1).integers(4, 60, 1000).tolist()]
    shares = measure(ids, 128, 8)
    assert shares["packed"] < shares["bucketed by length"] < shares["padded as it comes"]
    assert shares["packed"] < 0.02
