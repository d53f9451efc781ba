"""What tells one dataset from another in a resume state: type and length, or what the dataset itself says."""

from __future__ import annotations

from typing import Any


def fingerprint(dataset: Any) -> dict[str, Any]:
    """A small dict that json can hold: ``dataset.fingerprint()`` where there is one, else type and length.

    Never paths or times: a dataset that was moved or copied is the same dataset.
    """
    own = getattr(dataset, "fingerprint", None)
    if callable(own):
        return dict(own())
    try:
        length = len(dataset)
    except TypeError:
        length = None
    return {"type": type(dataset).__qualname__, "length": length}
