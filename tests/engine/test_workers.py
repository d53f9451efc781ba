"""What worker processes survive, and what is said about those that do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch.utils.data import Dataset, get_worker_info

import stoker
from stoker import Loader
from stoker.testing import Counting, KillsWorker, Noisy, epoch_hashes

pytestmark = pytest.mark.usefixtures("no_leaks")


def processes(dataset: Any, **arguments: Any) -> Loader:
    return Loader(dataset, **{"executor": "process", "num_workers": 2, "batch_size": 4, "seed": 1, **arguments})


# Workers that die


@pytest.mark.parametrize("whole", [False, True])
def test_a_killed_worker_is_replaced_and_nothing_is_lost_or_seen_twice(tmp_path: Path, whole: bool) -> None:
    collate = {"collate_fn": torch.stack} if whole else {}
    expected = epoch_hashes(Loader(Noisy(60), batch_size=4, shuffle=True, seed=1))
    wounded = KillsWorker(Noisy(60), {3, 17, 44}, tmp_path)
    loader = processes(wounded, shuffle=True)
    assert epoch_hashes(loader) == expected
    assert len(list(tmp_path.iterdir())) == 3, "no worker was killed: the test tested nothing"
    assert not collate or epoch_hashes(processes(KillsWorker(Counting(20), {3}, tmp_path / ".."), **collate))


def test_a_sample_that_always_kills_is_named(tmp_path: Path) -> None:
    wounded = KillsWorker(Counting(60), {17}, tmp_path, times=99, signal_number=signal.SIGSEGV)
    with pytest.raises(
        stoker.WorkerError,
        match=r"is killed by signal: Segmentation fault \(SIGSEGV\) while loading sample 17.*ended 3 workers",
    ):
        list(processes(wounded))


def test_a_sample_that_always_kills_can_be_skipped(tmp_path: Path) -> None:
    wounded = KillsWorker(Counting(20), {5}, tmp_path, times=99)
    quarantine = tmp_path / "quarantine.jsonl"
    policy = stoker.ErrorPolicy("skip", quarantine=quarantine)
    batches = [batch[:, 0].tolist() for batch in processes(wounded, on_error=policy)]
    assert batches[1] == [4, 6, 7]
    assert '"index": 5' in quarantine.read_text()


def test_many_kills_in_short_tasks(tmp_path: Path) -> None:
    expected = epoch_hashes(Loader(Counting(200), batch_size=10, shuffle=True, seed=1))
    wounded = KillsWorker(Counting(200), set(range(0, 200, 20)), tmp_path)
    assert epoch_hashes(processes(wounded, batch_size=10, shuffle=True)) == expected
    assert len(list(tmp_path.iterdir())) == 10


def test_idle_workers_can_be_killed() -> None:
    loader = processes(Counting(40), persistent_workers=True)
    expected = epoch_hashes(loader)
    for victim in workers_of_this_process():
        victim.kill()
    assert epoch_hashes(loader) == expected


def test_workers_that_die_while_they_start_are_not_started_for_ever() -> None:
    with pytest.raises(stoker.WorkerError, match="while it started"):
        list(processes(Counting(20), worker_init_fn=lambda number: os._exit(3)))


class Hanging(Counting):
    def __getitem__(self, index: int) -> torch.Tensor:
        if index == 6:
            time.sleep(1000)
        return super().__getitem__(index)


def test_a_timeout_names_worker_and_sample() -> None:
    with pytest.raises(RuntimeError, match=r"DataLoader timed out after 3 seconds.*Worker \d is on sample 6"):
        list(processes(Hanging(20), timeout=3))


# Errors


class TwoArgumentsError(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first, second)


class Raising(Counting):
    def __init__(self, error: Any) -> None:
        super().__init__(20)
        self.error = error

    def __getitem__(self, index: int) -> torch.Tensor:
        raise self.error() if index == 9 else AssertionError if index < 0 else self.error()


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: ValueError("one text"), ValueError),
        (lambda: KeyError("a key"), KeyError),
        (lambda: TwoArgumentsError("a", "b"), RuntimeError),
        (lambda: UnicodeDecodeError("utf-8", b"x", 0, 1, "why"), RuntimeError),
    ],
)
def test_an_error_keeps_type_text_and_traceback(make: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        list(processes(Raising(make)))
    text = str(caught.value)
    assert f"Caught {type(make()).__name__} in DataLoader worker process" in text
    assert "in __getitem__" in text
    assert "while loading sample" in text


def test_an_error_that_does_not_pickle_arrives_as_text() -> None:
    class UnsendableError(Exception):
        def __init__(self) -> None:
            super().__init__("holds a lock")
            self.lock = threading.Lock()

        def __reduce__(self) -> Any:
            raise TypeError("no")

    with pytest.raises(RuntimeError, match="holds a lock"):
        list(processes(Raising(UnsendableError)))


class Generators(Counting):
    def __getitem__(self, index: int) -> Any:
        return (number for number in range(3))


def test_a_batch_that_does_not_pickle_is_an_error_and_no_hang() -> None:
    with pytest.raises(TypeError, match="generator"):
        list(processes(Generators(8), collate_fn=list))


class WithLock(Counting):
    def __init__(self) -> None:
        super().__init__(20)
        self.transform = {"steps": [threading.Lock()]}


def test_what_cannot_be_sent_is_named() -> None:
    with pytest.raises(
        stoker.TravelError, match=r"dataset\.transform\['steps'\]\[0\] cannot be sent.*_thread.lock.*__getitem__"
    ):
        list(processes(WithLock()))


class Untravelled(Counting):
    def __setstate__(self, state: dict[str, Any]) -> None:
        raise ValueError("cannot be unpacked here")


def test_a_dataset_that_cannot_be_unpickled_says_why() -> None:
    with pytest.raises(stoker.WorkerError, match="cannot be unpacked here"):
        list(processes(Untravelled(8)))


def failing_init(number: int) -> None:
    raise OSError("no scratch disk")


def test_a_worker_init_fn_that_fails_says_why() -> None:
    with pytest.raises(OSError, match="no scratch disk"):
        list(processes(Counting(20), worker_init_fn=failing_init))


# What user code sees in a worker


class Informed(Counting):
    def __getitem__(self, index: int) -> Any:
        info = get_worker_info()
        assert info is not None
        assert info.dataset is self
        return (
            info.id,
            info.num_workers,
            torch.get_num_threads(),
            int(os.environ["STOKER_TEST"]),
            os.getcwd() == self.folder,
        )

    folder = ""


def test_workers_have_torch_s_worker_info_and_the_loop_s_surroundings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STOKER_TEST", "7")
    monkeypatch.chdir(tmp_path)
    dataset = Informed(8)
    dataset.folder = os.getcwd()
    ids, counts, threads, values, same = next(iter(processes(dataset, batch_size=8)))
    assert set(ids.tolist()) <= {0, 1}
    assert [set(column.tolist()) for column in (counts, threads, values, same)] == [{2}, {1}, {7}, {True}]


def test_lambdas_and_local_classes_travel() -> None:
    class Local(Counting):
        transform = staticmethod(lambda row: row + 1)

        def __getitem__(self, index: int) -> torch.Tensor:
            return self.transform(super().__getitem__(index))

    assert next(iter(processes(Local(8)))).tolist() == [[1, 1], [2, 2], [3, 5], [4, 10]]


class Holding(Dataset[Any]):
    def __init__(self, value: Any) -> None:
        self.value = value

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return type(self.value).__name__, torch.as_tensor(np.asarray(self.value[index]))


def test_memory_maps_travel_by_path(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.arange(40_000_000, dtype=np.uint8).reshape(8, -1))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    kinds, rows = next(iter(processes(Holding(mapped[:, 3:9]), batch_size=8)))
    assert (rows.numpy() == mapped[:, 3:9]).all()
    kinds, rows = next(iter(processes(Holding(mapped[2:]), batch_size=2)))
    assert set(kinds) == {"memmap"}
    assert (rows.numpy() == mapped[2:4]).all()


def test_large_tensors_travel_with_their_values() -> None:
    tensor = torch.randn(8, 500_000).t().contiguous().t()
    _, rows = next(iter(processes(Holding(tensor), batch_size=8)))
    assert torch.equal(rows, tensor)


def test_long_lists_travel_as_shared_lists() -> None:
    names = [f"file {number}" for number in range(20_000)]

    class Names(Counting):
        items = None

        def __getitem__(self, index: int) -> Any:
            return type(self.items).__name__, self.items[index], self.items[-1]

    dataset = Names(8)
    dataset.items = names  # type: ignore[assignment]
    kinds, first, last = next(iter(processes(dataset, batch_size=2)))
    assert (kinds[0], list(first), last[0]) == ("SharedList", ["file 0", "file 1"], "file 19999")


# The loop's process


def run_script(text: str, *, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text), str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_scripts_need_no_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent("""
            import torch, stoker
            print("top")
            class Squares(torch.utils.data.Dataset):
                def __len__(self): return 6
                def __getitem__(self, i): return Point(i)
            class Point:
                def __init__(self, i): self.i = i
            for batch in stoker.Loader(Squares(), batch_size=3, num_workers=2, collate_fn=lambda rows: rows):
                print([p.i ** 2 for p in batch], isinstance(batch[0], Point))
        """)
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("top\n[0, 1, 4] True\n[9, 16, 25] True\n", "")


def test_an_iterator_held_at_exit_delays_nothing() -> None:
    done = run_script("""
        import time, stoker
        from stoker.testing import Counting
        it = iter(stoker.Loader(Counting(10_000, delay_s=0.01), batch_size=8, num_workers=2))
        next(it)
        end = time.monotonic()
        import atexit
        atexit.register(lambda: print("ending", flush=True))
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ending\n", "")


def test_threads_at_work_at_exit_end_in_order(tmp_path: Path) -> None:
    done = run_script(
        """
        import sys, numpy as np, stoker
        from PIL import Image
        from stoker.image import Pipeline, RandomResizedCrop
        for number in range(64):
            noise = np.random.default_rng(number).integers(0, 255, (400, 400, 3), dtype=np.uint8)
            Image.fromarray(noise).save(f"{sys.argv[1]}/{number}.jpg", quality=95)
        dataset = stoker.open(sys.argv[1]).map(image=Pipeline(RandomResizedCrop(200)))
        it = iter(stoker.Loader(dataset, batch_size=32, num_workers=2, executor="thread", persistent_workers=True))
        next(it)
        print("leaving", flush=True)
        """,
        folder=tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "leaving\n", "")


def test_workers_end_with_a_killed_loop() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent("""
            import time, stoker
            from stoker.testing import Counting
            it = iter(stoker.Loader(Counting(10_000, delay_s=0.5), batch_size=8, num_workers=2))
            next(it); print("up", flush=True); time.sleep(60)
        """)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 4, "a root zygote, a loader zygote and two workers"
    process.kill()
    process.wait()
    process.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive


def test_ctrl_c_is_one_traceback_and_the_state_is_good() -> None:
    done = run_script("""
        import os, signal, threading, stoker
        from stoker.testing import Counting
        loader = stoker.Loader(Counting(1000, delay_s=0.05), batch_size=8, num_workers=2, seed=0)
        it = iter(loader)
        next(it)
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            for _ in it: pass
        except KeyboardInterrupt:
            state = loader.state_dict()
            print(state["samples"] % 8, state["samples"] > 0)
            raise
    """)
    assert done.stdout == "0 True\n"
    assert done.stderr.count("Traceback") == 1


def test_a_forked_child_leaves_the_workers_alone() -> None:
    loader = processes(Counting(200), persistent_workers=True)
    expected = epoch_hashes(loader)
    iterator = iter(loader)
    hashes = epoch_hashes([next(iterator)])
    pid = os.fork()
    if pid == 0:
        del iterator, loader
        os._exit(0)
    os.waitpid(pid, 0)
    assert hashes + epoch_hashes(iterator) == expected


def test_a_forked_child_keeps_the_batch_that_it_was_given() -> None:
    class Images(Counting):
        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.full((3, 64, 64), index, dtype=torch.int32)

    iterator = iter(processes(Images(400)))
    batch = next(iterator)
    go_read, go_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(go_read, 1)
        os._exit(0 if batch[:, 0, 0, 0].tolist() == [0, 1, 2, 3] else 1)
    del batch
    for _ in iterator:
        pass
    os.write(go_write, b"x")
    for fd in (go_read, go_write):
        os.close(fd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_threads_and_locks_of_the_loop_s_process_do_not_matter() -> None:
    lock = threading.Lock()
    with lock:
        done = threading.Event()
        threading.Thread(target=done.wait, daemon=True).start()
        assert len(list(processes(Counting(20)))) == 5
        done.set()


def workers_of_this_process() -> list[psutil.Process]:
    """The processes that have no children of their own, below the zygotes."""
    family = psutil.Process().children(recursive=True)
    return [
        process
        for process in family
        if len(process.parents()) > 2 and not process.children() and process.ppid() != os.getpid()
    ]
