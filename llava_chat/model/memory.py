"""How much memory is free, asked before the long work of reading weights into it begins.

Imports torch and errors.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

from llava_chat.errors import CheckpointError

# What PyTorch says in a plain RuntimeError: on a CPU (Windows, Linux), and on MPS or in a driver.
_NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


def check_memory(bytes_needed: int, device: torch.device, *, what: str = "The model") -> None:
    """Raise CheckpointError when a device has less memory left than `bytes_needed`.

    what: the subject of the sentence, such as "The model in /models/llava". Where nothing tells how
    much is free, nothing is checked.
    """
    free = free_bytes(device)
    if free is None or bytes_needed <= free:
        return
    ways = "a smaller model, another --dtype or --quantize"
    if device.type != "cpu":
        ways += ", or --device cpu"
    raise CheckpointError(
        f"{what} needs about {bytes_needed / 1e9:.1f} GB of memory on {device}, where "
        f"{free / 1e9:.1f} GB are free; use {ways}."
    )


def free_bytes(device: torch.device) -> int | None:
    """How many bytes can still be allocated on a device, None when that cannot be known."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # PyTorch keeps what it freed: the driver counts it as used, and it can be allocated.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return free_cpu_bytes() if device.type == "cpu" else None


def free_cpu_bytes(root: Path = Path("/")) -> int | None:
    """What the system and the container that this process is in leave of the machine's memory.

    Swap counts: what fits with it does load. root: where proc and sys are mounted.
    """
    free = _system_bytes(root)
    limits = [left for left in _container_bytes(root) if left is not None]
    return min([*limits, *([] if free is None else [free])], default=None)


def _system_bytes(root: Path) -> int | None:
    """Linux says what can be had without swapping (proc(5), MemAvailable); others, what is unused.

    macOS and Windows tell neither.
    """
    with suppress(OSError, ValueError, LookupError):
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if ":" in line}
        return 1024 * (kilobytes["MemAvailable"] + kilobytes.get("SwapFree", 0))
    with suppress(AttributeError, OSError, ValueError):  # no such function, or no such name
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _container_bytes(root: Path) -> Iterator[int | None]:
    """What each control group around this process leaves (kernel.org: cgroup-v2, memcg of v1)."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from _levels(
                    root / "sys/fs/cgroup", path, "memory.max", "memory.current", "inactive_file"
                )
            elif "memory" in controllers.split(","):
                yield from _levels(
                    root / "sys/fs/cgroup/memory",
                    path,
                    "memory.limit_in_bytes",
                    "memory.usage_in_bytes",
                    "total_inactive_file",
                )


def _levels(mount: Path, path: str, limit: str, usage: str, cache: str) -> Iterator[int | None]:
    """From the group of this process to the mount, which in a container is itself that group."""
    inner = mount / path.lstrip("/")
    for folder in (inner, *inner.parents):
        if folder == mount or mount in folder.parents:
            yield _left(folder, limit, usage, cache)


def _left(folder: Path, limit: str, usage: str, cache: str) -> int | None:
    """Bytes under a group's limit; the cache of files that nobody uses is given up when needed."""
    with suppress(OSError, ValueError, LookupError):
        most = int((folder / limit).read_text(encoding="ascii"))  # "max" where there is none
        used = int((folder / usage).read_text(encoding="ascii"))
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        reclaimable = int(dict(line.split() for line in lines)[cache])
        return max(most - used + reclaimable, 0)
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether memory was lacking, for which PyTorch has a class that it does not always use.

    >>> out_of_memory(RuntimeError("MPS backend out of memory")), out_of_memory(RuntimeError("?"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


def free_unused_memory() -> None:
    """Give back what models that nobody holds any more took: PyTorch keeps it for the next ones."""
    gc.collect()  # a model may be part of a cycle
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
