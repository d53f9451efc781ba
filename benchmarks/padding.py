"""How much of a batch is padding? Real English text, padded as it comes, bucketed by length, and packed.

    python benchmarks/padding.py

The text is what this Python brings: docstrings of the standard library, and the documentation and licences of installed
packages; each docstring or section is a document. Tokens are words, numbers, signs and runs of spaces, about as many as a
byte-pair encoding makes. Every share is counted in the batches that a loader hands out.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import stoker
from stoker.batch import pad
from stoker.data import PackedSequences

GOAL = 0.02
"""The share of padding that packing stays under."""

_TOKEN = re.compile(r"'(?:s|t|re|ve|m|ll|d)\b| ?[A-Za-z]{1,8}| ?\d{1,3}| ?[^\sA-Za-z\d]+|\s+")
_TEXTS = ("*.rst", "*.md", "*.txt", "*LICENSE*", "METADATA")
_POOL = 50  # batches whose documents are sorted together


def docstrings(folder: Path) -> Iterator[str]:
    """The docstrings of the modules in `folder`, in the order of their names."""
    for path in sorted(folder.glob("*.py")) + sorted(folder.glob("[a-z]*/*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield ast.get_docstring(node) or ""


def sections(folder: Path) -> Iterator[str]:
    """The sections of the documentation and licences below `folder`: what headings and rules of signs divide."""
    paths = {path for pattern in _TEXTS for path in folder.glob(f"*/**/{pattern}") if path.is_file()}
    for path in sorted(paths):
        text = path.read_text(encoding="utf-8", errors="ignore")
        yield from re.split(r"\n(?=#{1,4} )|\n\s*[=\-~*]{4,}\s*\n", text)


def documents(texts: Iterable[str], limit: int) -> list[torch.Tensor]:
    """The token ids of up to `limit` texts, each text once; texts of fewer than four tokens are no documents."""
    vocabulary: dict[str, int] = {}
    found = [
        [vocabulary.setdefault(token, len(vocabulary) + 1) for token in _TOKEN.findall(text)]
        for text in dict.fromkeys(text.strip() for text in texts)
    ]
    ids = [torch.tensor(tokens, dtype=torch.int32) for tokens in found if len(tokens) >= 4]
    chosen = np.random.default_rng(0).permutation(len(ids))[:limit]
    return [ids[number] for number in chosen]


def bucketed(lengths: NDArray[np.int64], batch_size: int) -> list[list[int]]:
    """Batches of documents of like length: pools of shuffled documents, each sorted and cut into batches."""
    order = np.random.default_rng(1).permutation(len(lengths))
    pools = (order[start : start + batch_size * _POOL] for start in range(0, len(order), batch_size * _POOL))
    batches: list[list[int]] = []
    for pool in pools:
        by_length = pool[np.argsort(lengths[pool], kind="stable")].tolist()
        batches += (by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size))
    return batches


def waste(loader: Iterable[Any], is_token: Callable[[Any], torch.Tensor]) -> tuple[float, int]:
    """The share of positions that are padding, and the tokens in all."""
    tokens = positions = 0
    for batch in loader:
        mask = is_token(batch)
        tokens, positions = tokens + int(mask.sum()), positions + mask.numel()
    return 1 - tokens / positions, tokens


def measure(ids: list[torch.Tensor], max_length: int, batch_size: int) -> dict[str, float]:
    """The waste of each way of batching. Raises AssertionError where one of them lost or repeated a token."""
    lengths = np.array([min(len(document), max_length) for document in ids])
    collate = pad(max_length=max_length, truncate="end", masks=True)
    rows = PackedSequences(ids, max_length, lengths=[len(document) for document in ids], seed=0, overlong="truncate")
    windows = PackedSequences(
        ids, max_length, lengths=[len(document) for document in ids], window=4096, seed=0, overlong="truncate"
    )
    ways: dict[str, tuple[Iterable[Any], Callable[[Any], torch.Tensor]]] = {
        "padded to max_length": (
            stoker.Loader(ids, batch_size, collate_fn=pad(max_length=max_length, multiple=max_length, truncate="end", masks=True)),
            lambda batch: batch[1],
        ),
        "padded as it comes": (stoker.Loader(ids, batch_size, shuffle=True, seed=0, collate_fn=collate), lambda batch: batch[1]),
        "bucketed by length": (
            stoker.Loader(ids, batch_sampler=bucketed(lengths, batch_size), collate_fn=collate),
            lambda batch: batch[1],
        ),
        "packed, window of 4,096": (stoker.Loader(windows, 8, shuffle=True, seed=0), lambda batch: batch["document_ids"] >= 0),
        "packed": (stoker.Loader(rows, 8, shuffle=True, seed=0), lambda batch: batch["document_ids"] >= 0),
    }  # fmt: skip
    shares: dict[str, float] = {}
    for name, (loader, is_token) in ways.items():
        shares[name], tokens = waste(loader, is_token)
        assert tokens == lengths.sum(), f"{name}: {tokens:,} tokens came out, and {lengths.sum():,} went in"
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=32)
    arguments = parser.parse_args()
    folders = {name: Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")}
    texts = (*docstrings(folders["stdlib"]), *sections(folders["purelib"]))
    ids = documents(texts, arguments.documents)
    lengths = np.array(list(map(len, ids)))
    middle, high = np.percentile(lengths, [50, 95]).astype(int).tolist()
    print(
        f"{len(ids):,} documents of {lengths.sum():,} tokens; half have up to {middle}, 95 % up to {high}, the longest {lengths.max():,}"
    )
    missed = False
    for max_length in (512, 2048):
        print(f"rows of {max_length:,}, batches of {arguments.batch_size}")
        shares = measure(ids, max_length, arguments.batch_size)
        for name, share in shares.items():
            print(f"  {name:24}{share:8.2%} padding")
        best = shares["packed"]
        missed = missed or best >= GOAL
        ratio = best / shares["padded as it comes"]
        print(
            f"  ratio {ratio:.4f} of the padding as it comes; {best:.2%} (goal under {GOAL:.0%}, {'met' if best < GOAL else 'MISSED'})"
        )
    sys.exit(missed)


if __name__ == "__main__":
    main()
