"""Launchers: how worker processes come to be. The usual one asks a zygote; a user's ``multiprocessing_context`` is obeyed."""

from __future__ import annotations

import atexit
import json
import multiprocessing.connection
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.context import BaseContext
from typing import Any, Protocol

from stoker.batch.slots import Arena
from stoker.engine.processes.payload import send
from stoker.engine.protocol import Work
from stoker.errors import WorkerError

_MAX_MESSAGE_BYTES = 60_000
_CODE = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from stoker.engine.processes.zygote import serve_root
serve_root(int(sys.argv[1]))
"""
_SINGLE_THREADED = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Death:
    """A worker that ended, though nobody told it to."""

    number: int
    pid: int
    exitcode: int


@dataclass(frozen=True)
class Launch:
    """What the workers of one set are given: the work, the arena, their ends of the pipes (`task_fds`: one, or one for each).

    `loop_fds` are the loop's own ends, which no worker may keep.
    """

    work: Work
    base_seed: int
    arena: Arena
    task_fds: list[int]
    result_fd: int
    loop_fds: list[int]


class Launcher(Protocol):
    """Starts workers and tells of their deaths. Used by the loop's thread alone."""

    def start(self, launch: Launch) -> None: ...

    def wait_fds(self) -> list[int]:
        """Descriptors that become readable when there may be a death to tell of."""

    def deaths(self) -> list[Death]:
        """The deaths since the last call; never blocks. Raises WorkerError when workers cannot be had at all."""

    def respawn(self, number: int) -> None:
        """Starts worker `number` anew."""

    def close(self) -> None:
        """Ends all workers at once."""


class ZygoteLauncher:
    """Workers forked by a loader zygote."""

    _control: socket.socket | None = None

    def start(self, launch: Launch) -> None:
        payload_fd = send(launch.work)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            arena = launch.arena
            message = {"num_slots": arena.num_slots, "stride_bytes": arena.stride_bytes, "base_seed": launch.base_seed}
            fds = [theirs.fileno(), payload_fd, arena.fd, launch.result_fd, *launch.task_fds]
            root_zygote().ask(json.dumps(message).encode(), fds)
        finally:
            os.close(payload_fd)
            theirs.close()
        self._control.setblocking(False)

    def wait_fds(self) -> list[int]:
        assert self._control is not None
        return [self._control.fileno()]

    def deaths(self) -> list[Death]:
        assert self._control is not None
        deaths: list[Death] = []
        while True:
            try:
                message = self._control.recv(_MAX_MESSAGE_BYTES)
            except BlockingIOError:
                return deaths
            except ConnectionResetError:
                message = b""
            if not message:
                raise WorkerError("the process that starts workers has ended; was it killed? Its output stands above.")
            report = json.loads(message)
            if "failed" in report:
                raise WorkerError(
                    f"the workers could not be started. In the process that starts them:\n{report['failed']}"
                )
            deaths.append(Death(report["died"], report["pid"], report["exitcode"]))

    def respawn(self, number: int) -> None:
        assert self._control is not None
        self._control.send(json.dumps({"respawn": number}).encode())

    def close(self) -> None:
        if self._control is not None:
            self._control.close()


class ContextLauncher:
    """Workers started by a context of Python's multiprocessing, as a user's ``multiprocessing_context`` asks."""

    def __init__(self, context: BaseContext) -> None:
        self._context: Any = context
        self._processes: dict[int, Any] = {}

    def start(self, launch: Launch) -> None:
        self._launch = launch
        for number in range(launch.work.num_workers):
            self.respawn(number)

    def respawn(self, number: int) -> None:
        launch, task_fd = self._launch, self._task_fd(number)
        if self._context.get_start_method() == "fork":
            process = self._context.Process(target=_forked_main, args=(number, launch, task_fd), daemon=True)
            process.start()
        else:
            payload_fd = send(launch.work)
            ticket = _Ticket(number, launch, (payload_fd, launch.arena.fd, task_fd, launch.result_fd))
            process = self._context.Process(target=_spawned_main, args=(ticket,), daemon=True)
            try:
                process.start()
            finally:
                os.close(payload_fd)
        self._processes[number] = process

    def _task_fd(self, number: int) -> int:
        return self._launch.task_fds[number % len(self._launch.task_fds)]

    def wait_fds(self) -> list[int]:
        return [process.sentinel for process in self._processes.values()]

    def deaths(self) -> list[Death]:
        deaths = []
        ready = multiprocessing.connection.wait(self.wait_fds(), timeout=0)
        for number, process in list(self._processes.items()):
            if process.sentinel in ready:
                process.join()
                del self._processes[number]
                deaths.append(Death(number, process.pid, process.exitcode))
                process.close()
        return deaths

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.join()
            process.close()
        self._processes.clear()


class _Ticket:
    """What a spawned worker is given. It arrives as a tuple; its descriptors are handed over while it is pickled."""

    def __init__(self, number: int, launch: Launch, fds: tuple[int, ...]) -> None:
        self._number, self._launch, self._fds = number, launch, fds

    def __reduce__(self) -> Any:
        arena = self._launch.arena
        handles = [reduction.DupFd(fd) for fd in self._fds]
        return _redeem, (self._number, self._launch.base_seed, arena.num_slots, arena.stride_bytes, *handles)


def _redeem(*parts: Any) -> tuple[Any, ...]:
    return parts


def _forked_main(number: int, launch: Launch, task_fd: int) -> None:
    from stoker.engine.processes.worker import run_worker

    for fd in launch.loop_fds:
        os.close(fd)  # or the pipe of tasks would stay open when the loop's process is gone
    run_worker(number, launch.work, launch.base_seed, launch.arena, task_fd, launch.result_fd)


def _spawned_main(parts: tuple[Any, ...]) -> None:
    from stoker.engine.processes.payload import receive
    from stoker.engine.processes.worker import run_worker

    number, base_seed, num_slots, stride_bytes, *handles = parts
    payload_fd, arena_fd, task_fd, result_fd = [handle.detach() for handle in handles]
    run_worker(number, receive(payload_fd), base_seed, Arena(num_slots, arena_fd, stride_bytes), task_fd, result_fd)


class RootZygote:
    """This process's end of the root zygote."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._lock = threading.Lock()
        self._commands, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *_interpreter_flags(), "-c", _CODE, str(theirs.fileno()), json.dumps(sys.path)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is for the loop's process
                env={**os.environ, **_SINGLE_THREADED},
            )

    def alive(self) -> bool:
        return self.owner == os.getpid() and self._process.poll() is None

    def ask(self, message: bytes, fds: list[int]) -> None:
        with self._lock:
            socket.send_fds(self._commands, [message], fds)

    def close(self) -> None:
        self._commands.close()
        if self.owner == os.getpid():
            self._process.wait()


_root: RootZygote | None = None
_root_lock = threading.Lock()


def root_zygote() -> RootZygote:
    """The root zygote of this process, started at the first call (about a second until it can fork; calls do not wait)."""
    global _root
    with _root_lock:
        if _root is None or not _root.alive():
            _root = RootZygote()
        return _root


def shutdown() -> None:
    """Ends the helper process that workers are forked from. It ends by itself with this process; a later loader starts another."""
    global _root
    with _root_lock:
        if _root is not None:
            _root.close()
            _root = None


def _interpreter_flags() -> list[str]:
    return subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined,no-any-return]


def _forget_root() -> None:
    global _root, _root_lock
    _root, _root_lock = None, threading.Lock()  # a forked child has a process of its own to start


atexit.register(shutdown)
os.register_at_fork(after_in_child=_forget_root)
