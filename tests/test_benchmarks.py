"""The benchmarks run and measure what they say, here on a shape of a few thousand weights."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.turns import table

ROOT = Path(__file__).parents[1]


def test_turns_compares_three_ways_that_give_the_same_tokens(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "benchmarks/turns.py",
            *("--shape", "tiny", "--device", "cpu", "--repeats", "1"),
            *("--json", str(tmp_path / "turns.json")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "| turn 4 |" in done.stdout and "x |" in done.stdout
    told = json.loads((tmp_path / "turns.json").read_text())
    assert [len(times) for times in told["first_token_ms"].values()] == [4, 4, 4]
    assert all(speed > 0 for speed in told["tokens_per_s"].values())
    assert set(told["same_tokens"].values()) == {1.0}


def test_the_readme_shows_what_was_measured() -> None:
    shown = (ROOT / "README.md").read_text(encoding="utf-8")
    block = shown.split("<!-- turns: begin -->\n")[1].split("\n<!-- turns: end -->")[0]
    assert block == table(json.loads((ROOT / "benchmarks" / "turns-small-cpu.json").read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_loading_compares_two_loaders_of_the_same_files(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "benchmarks/loading.py",
            *("--shape", "tiny", "--stored", "float16"),
            *("--json", str(tmp_path / "loading.json")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "| load, s |" in done.stdout and "x) |" in done.stdout
    told = json.loads((tmp_path / "loading.json").read_text())
    assert told["weights_bytes"] > 100_000
    for way in told["ways"].values():
        assert way["reply_tokens"] >= 1
        assert way["anonymous_bytes"] > 0 and way["resident_bytes"] > 0
