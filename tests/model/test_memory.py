"""How much memory is free: what the system says, and what a container leaves of it."""

from pathlib import Path

import pytest
import torch

from llava_chat.errors import CheckpointError
from llava_chat.model.memory import check_memory, free_bytes, free_cpu_bytes

GIGABYTE = 10**9
MEMINFO = "MemTotal: 16000 kB\nMemFree: 100 kB\nMemAvailable: 8000 kB\nSwapFree: 500 kB\n"
CPU = torch.device("cpu")


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_available_memory_counts_with_swap(tmp_path: Path) -> None:
    assert free_cpu_bytes(write(tmp_path, {"proc/meminfo": MEMINFO})) == 8500 * 1024


def group(folder: str, limit: object, usage: int, cache: int) -> dict[str, str]:
    return {
        f"sys/fs/cgroup/{folder}memory.max": str(limit),
        f"sys/fs/cgroup/{folder}memory.current": str(usage),
        f"sys/fs/cgroup/{folder}memory.stat": f"anon 7\ninactive_file {cache}\n",
    }


@pytest.mark.parametrize(
    ("groups", "free"),
    [
        (group("a/b/", 9000, 5000, 1000), 5000),
        (group("a/b/", 9000, 50_000, 0), 0),
        (group("a/b/", "max", 5000, 0), 8500 * 1024),
        (group("a/b/", "max", 5000, 0) | group("a/", 6000, 5500, 0), 500),
        (group("", 7000, 5000, 0), 2000),  # a container sees its own group as the mount
        (group("a/b/", 9 * GIGABYTE, 0, 0), 8500 * 1024),
        (group("a/b/", "nonsense", 0, 0), 8500 * 1024),
    ],
)
def test_a_container_has_less(tmp_path: Path, groups: dict[str, str], free: int) -> None:
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a/b\n", **groups}
    assert free_cpu_bytes(write(tmp_path, files)) == free


def test_a_container_of_the_first_version(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "5:cpu,cpuacct:/c\n4:memory:/c\n0::/\n",
        "sys/fs/cgroup/memory/c/memory.limit_in_bytes": "9000",
        "sys/fs/cgroup/memory/c/memory.usage_in_bytes": "5000",
        "sys/fs/cgroup/memory/c/memory.stat": "cache 3\ntotal_inactive_file 10\n",
    }
    assert free_cpu_bytes(write(tmp_path, files)) == 4010


def test_it_is_refused_with_both_numbers() -> None:
    with pytest.raises(CheckpointError) as error:
        check_memory(10**18, CPU, what="The model in /models/x")
    sentence = str(error.value)
    assert sentence.startswith(
        "The model in /models/x needs about 1000000000.0 GB of memory on cpu, where "
    )
    assert "GB are free; use a smaller model, another --dtype" in sentence


def test_what_fits_or_cannot_be_known_is_let_through() -> None:
    check_memory(1, CPU)
    assert free_bytes(torch.device("meta")) is None
    check_memory(10**18, torch.device("meta"))
