"""Zygotes: processes of our own from which workers are forked, so that the loop's process, with its threads and locks, never is.

There are two kinds. The *root zygote* imports torch once, and stays single-threaded. For each set of workers it forks a
*loader zygote*, which unpickles the dataset once and forks the workers, so that the dataset exists once, copy-on-write;
it stays to tell of workers that died, and to fork others in their place.

Nobody outlives the loop's process. Zygotes end when their socket to it is closed, by whatever closes it. Workers end
with their zygote (PR_SET_PDEATHSIG: their parent's only thread forked them, so the signal means what it says).
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

from stoker.batch.slots import Arena
from stoker.engine.processes.payload import receive
from stoker.engine.processes.worker import run_worker
from stoker.engine.protocol import Work

MAX_MESSAGE_BYTES = 60_000
MAX_FDS = 250  # the kernel's own limit for one message is 253

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def serve_root(fd: int) -> NoReturn:
    """The root zygote: forks a loader zygote for each message until the loop's process is gone."""
    commands = socket.socket(fileno=fd)
    signal.signal(signal.SIGINT, _ignore)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps loader zygotes
    while True:
        message, fds, _, _ = socket.recv_fds(commands, MAX_MESSAGE_BYTES, MAX_FDS)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            commands.close()
            _serve_loader(json.loads(message), fds)
        for received in fds:
            os.close(received)


def _ignore(*_: object) -> None:
    return None


def _serve_loader(message: dict[str, int], fds: list[int]) -> NoReturn:
    control = socket.socket(fileno=fds[0])
    try:
        _LoaderZygote(control, message, fds).serve()
    except BaseException:
        report = json.dumps({"failed": traceback.format_exc()[-MAX_MESSAGE_BYTES // 2 :]})
        with suppress(OSError):  # perhaps nobody is left to be told
            control.send(report.encode())
    os._exit(0)


class _LoaderZygote:
    def __init__(self, control: socket.socket, message: dict[str, int], fds: list[int]) -> None:
        self._control = control
        _, payload_fd, arena_fd, self._result_fd, *self._task_fds = fds
        self._base_seed = message["base_seed"]
        self._pids: dict[int, int] = {}
        self._arena = Arena(message["num_slots"], arena_fd, message["stride_bytes"])
        gc.disable()
        self._work: Work = receive(payload_fd)
        os.close(payload_fd)
        gc.freeze()  # a collection in a worker must not write to pages that all workers share

    def serve(self) -> None:
        wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._wake_read = wake_read
        for number in range(self._work.num_workers):
            self._fork_worker(number)
        selector = selectors.DefaultSelector()
        selector.register(self._control, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == wake_read:
                    os.read(wake_read, 4096)
                    self._tell_of_the_dead()
                elif message := self._control.recv(MAX_MESSAGE_BYTES):
                    self._fork_worker(json.loads(message)["respawn"])
                else:
                    return

    def _tell_of_the_dead(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._pids.pop(pid)
            report = {"died": number, "pid": pid, "exitcode": os.waitstatus_to_exitcode(status)}
            self._control.send(json.dumps(report).encode())

    def _fork_worker(self, number: int) -> None:
        zygote = os.getpid()
        pid = os.fork()
        if pid:
            self._pids[pid] = number
            return
        status = 1
        try:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != zygote:
                os._exit(0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            gc.enable()
            task_fd = self._task_fds[number % len(self._task_fds)]
            run_worker(number, self._work, self._base_seed, self._arena, task_fd, self._result_fd)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
