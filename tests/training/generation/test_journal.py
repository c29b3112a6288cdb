"""What the journal holds after a kill, and whose it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llava_chat.errors import LlavaChatError, TrainingDataError, UsageError
from llava_chat.training.generation.journal import NAME, Entry, Journal

ASKED: dict[str, object] = {"data": "abc", "--model": "writer"}
ENTRIES = [Entry("detail", str(n), f"A cat.\u2028\nNo. {n}", "stop", 10, 5) for n in range(3)]


def filled(folder: Path) -> Path:
    with Journal(folder, ASKED) as journal:
        for entry in ENTRIES:
            journal.append(entry)
    return folder / NAME


def test_what_was_appended_is_there_again(tmp_path: Path) -> None:
    filled(tmp_path)
    with Journal(tmp_path, ASKED) as journal:
        assert journal.entries == ENTRIES


def test_after_a_kill_at_any_byte_whole_lines_are_kept_and_it_goes_on(tmp_path: Path) -> None:
    file = filled(tmp_path)
    whole = file.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        with Journal(tmp_path, ASKED) as journal:
            kept = whole[first:length].count(b"\n")
            assert journal.entries == ENTRIES[:kept]
            journal.append(ENTRIES[2])
        with Journal(tmp_path, ASKED) as journal:
            assert journal.entries == [*ENTRIES[:kept], ENTRIES[2]]


@pytest.mark.skipif(os.name != "posix", reason="files are locked on POSIX alone")
def test_two_runs_do_not_write_the_same_journal(tmp_path: Path) -> None:
    with Journal(tmp_path, ASKED), pytest.raises(TrainingDataError, match="Another run is writing"):
        Journal(tmp_path, ASKED)
    filled(tmp_path)


def test_replies_to_something_else_are_not_mixed_in(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(UsageError, match="begun with another --model"):
        Journal(tmp_path, ASKED | {"--model": "other"})


def test_a_journal_without_a_reply_begins_anew(tmp_path: Path) -> None:
    Journal(tmp_path, ASKED | {"--model": "misspelt"}).close()
    filled(tmp_path)
    with Journal(tmp_path, ASKED) as journal:
        assert journal.entries == ENTRIES


WRONG: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "another file": (lambda whole: b'{"id": 1}\n', "no journal of generate-data"),
    "a picture": (lambda whole: b"\x89PNG\n\xff\xff\n", "no journal of generate-data"),
    "a line that was changed": (
        lambda whole: whole.replace(b'"finish": "stop"', b'"finish": 1', 1), "line 2: it is no",
    ),
    "a line that was cut": (
        lambda whole: whole.replace(b'"estimated": false}\n', b"\n", 1), "line 2: it is no",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_a_file_that_is_no_journal(
    change: Callable[[bytes], bytes], sentence: str, tmp_path: Path
) -> None:
    file = filled(tmp_path)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(TrainingDataError, match=sentence):
        Journal(tmp_path, ASKED)


def test_a_full_disk_is_told_and_what_was_kept_is_there(tmp_path: Path) -> None:
    """As far as a process can have one: what it writes may not be longer than a limit."""
    resource = pytest.importorskip("resource", reason="only POSIX limits how long a file may be")
    size = filled(tmp_path).stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
        with (
            pytest.raises(TrainingDataError, match=r"cannot be written: File too large"),
            Journal(tmp_path, ASKED) as journal,
        ):
            journal.append(ENTRIES[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with Journal(tmp_path, ASKED) as journal:
        assert journal.entries == ENTRIES


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LlavaChatError, match="cannot be written"):
        Journal(tmp_path / "file" / "folder", ASKED)
