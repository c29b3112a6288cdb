"""The decoding children: hostile files cost a child, never the app, and none outlives it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llava_chat.errors import PictureError
from llava_chat.image import PictureLimits, picture_from_image, read_picture, warm_up, workers
from llava_chat.image.decoder.headers import Refused
from llava_chat.image.workers import MAX_WORKERS, Worker, WorkerPool

WAIT_S = 20.0


def png(width: int = 40, height: int = 30, seed: int = 0) -> tuple[bytes, str]:
    """A PNG of noise, and the id of its picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    image.save(file, "PNG")
    return file.getvalue(), picture_from_image(image).id


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool()
    yield pool
    pool.close()


def wait_until_gone(pid: int) -> bool:
    """Wait until a process has ended; a zombie has."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=root, timeout=60
    )


def test_worker_is_kept_from_picture_to_picture(pool: WorkerPool) -> None:
    data, identity = png()
    pids = set()
    for _ in range(3):
        with pool.worker() as worker:
            pids.add(worker.pid)
            assert worker.decode(data, PictureLimits()).id == identity
    assert len(pids) == 1


def test_many_threads_get_their_own_pictures() -> None:
    pictures = [png(seed=seed) for seed in range(8)] * 5
    with ThreadPoolExecutor(8) as threads:
        read = list(threads.map(lambda made: read_picture(made[0]).id, pictures))
    assert read == [identity for _, identity in pictures]


def test_child_killed_while_idle_is_replaced(pool: WorkerPool) -> None:
    data, identity = png()
    with pool.worker() as worker:
        pass
    os.kill(worker.pid, signal.SIGKILL)
    assert wait_until_gone(worker.pid)
    with pool.worker() as worker:
        assert worker.decode(data, PictureLimits()).id == identity


def test_child_that_dies_while_decoding_is_replaced(pool: WorkerPool) -> None:
    data, identity = png()
    with pool.worker() as worker:
        os.kill(worker.pid, signal.SIGSTOP)  # it will be in the middle of its work for long enough
        killer = threading.Timer(0.05, os.kill, (worker.pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(Refused, match="made the decoder stop"):
            worker.decode(data, PictureLimits())
    with pool.worker() as worker:
        assert worker.decode(data, PictureLimits()).id == identity


@pytest.mark.parametrize("side_px", [30, 600])  # the request fits the pipe, or fills it
def test_child_that_takes_too_long_is_killed(pool: WorkerPool, side_px: int) -> None:
    data, identity = png(side_px, side_px)
    with pool.worker() as worker:
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(Refused, match=r"takes longer than 0\.05 s"):
            worker.decode(data, PictureLimits(decode_timeout_s=0.05))
        assert not worker.alive
    with pool.worker() as worker:
        assert worker.decode(data, PictureLimits()).id == identity


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces RLIMIT_AS")
def test_memory_of_the_child_is_bounded() -> None:
    large = io.BytesIO()
    Image.new("RGB", (6000, 6000)).save(large, "PNG", compress_level=1)
    with pytest.raises(PictureError, match="too much memory"):
        read_picture(large.getvalue(), PictureLimits(decode_memory_bytes=100 * 2**20))
    data, identity = png()
    assert read_picture(data).id == identity


def test_waiting_for_a_child_ends(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llava_chat.image.workers.MAX_WAIT_S", 0.01)
    lent = [pool.worker() for _ in range(MAX_WORKERS)]
    for worker in lent:
        worker.__enter__()
    with pytest.raises(Refused, match="too many others"), pool.worker():
        pass
    for worker in lent:
        worker.__exit__(None, None, None)
    with pool.worker() as free:
        assert free.alive


def test_closed_pool_leaves_no_child(pool: WorkerPool) -> None:
    with pool.worker() as first, pool.worker() as second:
        pids = [first.pid, second.pid]
    pool.close()
    assert all(wait_until_gone(pid) for pid in pids)


PRINT_THE_CHILD = """
import os, signal, sys
from llava_chat.image import warm_up, workers
warm_up()
print(workers._pool()._idle[0].pid, flush=True)
"""


@pytest.mark.parametrize(
    "ending", ["", "sys.exit(3)", "os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"]
)
def test_no_child_outlives_the_app(ending: str) -> None:
    finished = run_script(PRINT_THE_CHILD + ending)
    assert finished.stderr == ""
    assert wait_until_gone(int(finished.stdout))


FORK = """
import io, os
from PIL import Image
from llava_chat.image import read_picture, workers
file = io.BytesIO()
Image.new("RGB", (9, 9)).save(file, "PNG")
parents_own = read_picture(file.getvalue())
pid = os.fork()
same = read_picture(file.getvalue()) == parents_own
print(workers._pool()._idle[0].pid, flush=True)
if pid:
    assert os.waitpid(pid, 0)[1] == 0
    same = same and read_picture(file.getvalue()) == parents_own
raise SystemExit(0 if same else 1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_copy_of_the_app_has_its_own_children() -> None:
    finished = run_script(FORK)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert len(set(finished.stdout.split())) == 2


def test_child_ignores_the_terminals_interrupt() -> None:
    worker = Worker()
    data, identity = png()
    assert worker.decode(data, PictureLimits()).id == identity
    os.kill(worker.pid, signal.SIGINT)
    assert worker.decode(data, PictureLimits()).id == identity
    worker.kill()


def test_warm_up_starts_a_decoder_that_the_first_picture_finds() -> None:
    warm_up()
    waiting = [worker.pid for worker in workers._pool()._idle]
    assert waiting
    data, identity = png()
    assert read_picture(data).id == identity
    assert [worker.pid for worker in workers._pool()._idle] == waiting


def test_nothing_but_pillow_is_imported_in_the_child() -> None:
    *options, script, folder, pillows_folder = workers.CHILD
    script += "; print([name for name in ('numpy', 'torch', 'llava_chat') if name in sys.modules])"
    # Its input is at its end, so that it has no request to wait for.
    finished = subprocess.run(
        [sys.executable, *options, script, folder, pillows_folder],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert (finished.stdout, finished.stderr) == ("[]\n", "")
