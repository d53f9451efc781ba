"""The executor kit, over every executor."""

from __future__ import annotations

import pytest

from stoker.testing.executors import ExecutorTests


class TestInline(ExecutorTests):
    arguments = {"executor": "inline"}


class TestOneThread(ExecutorTests):
    arguments = {"executor": "thread", "num_workers": 1}
    owns_generators = False


class TestThreads(ExecutorTests):
    arguments = {"executor": "thread", "num_workers": 3}
    owns_generators = False


@pytest.mark.usefixtures("no_leaks")
class TestOneProcess(ExecutorTests):
    arguments = {"executor": "process", "num_workers": 1}


@pytest.mark.usefixtures("no_leaks")
class TestProcesses(ExecutorTests):
    arguments = {"executor": "process", "num_workers": 2}


class TestForkedProcesses(ExecutorTests):
    arguments = {"executor": "process", "num_workers": 2, "multiprocessing_context": "fork"}
