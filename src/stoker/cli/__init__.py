"""The command line: one module for each command, which imports what it needs when it runs: help is quick."""

from __future__ import annotations

import errno
from typing import Any

import click

from stoker import __version__
from stoker.cli.demo import demo
from stoker.cli.export import export
from stoker.cli.inspect import inspect
from stoker.cli.pack import pack
from stoker.cli.verify import verify
from stoker.errors import StokerError

__all__ = ["main"]


class _Commands(click.Group):
    """Turns what Stoker raises on purpose, and what the system refuses, into one clear line; anything else stays a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StokerError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:  # no such file, no permission, a full disk; click itself sees to a closed pipe
            if error.errno == errno.EPIPE:
                raise
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stoker", message="%(prog)s %(version)s")
def main() -> None:
    """Stoker feeds neural networks: the same batches on every run, faster, resumable at any batch."""


for command in (demo, pack, verify, export, inspect):
    main.add_command(command)
