"""Runs examples, each in a process of its own, forked after the slow imports: ``python -m tests.examples.run NAME[=ARGUMENT] ...``."""

from __future__ import annotations

import os
import runpy
import sys
import warnings
from pathlib import Path

from torchvision_shim import import_torchvision  # forked workers inherit what it does; others would not

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, argument: str) -> int:
    process = os.fork()
    if process == 0:
        path = str(EXAMPLES / f"{name}.py")
        sys.argv = [path, argument] if argument else [path]
        runpy.run_path(path, run_name="__main__")
        sys.stdout.flush()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    import_torchvision()
    codes = {name: run(*name.partition("=")[::2]) for name in sys.argv[1:]}
    sys.exit(f"examples failed: {codes}" if any(codes.values()) else 0)
