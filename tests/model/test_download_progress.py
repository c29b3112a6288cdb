"""What counts of the bars that huggingface_hub would have drawn."""

import pytest

from llava_chat.model.download_progress import byte_counter, silent_bar
from llava_chat.progress import Progress


def test_only_bytes_that_are_written_count(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[Progress] = []
    bar = silent_bar(byte_counter("downloading", 10, 100, told.append))
    with bar(total=60, initial=10, unit="B", unit_scale=True, desc="a file") as of_bytes:
        of_bytes.update(50)
        of_bytes.update_transfer(20)
        of_bytes.set_postfix_str("1 MB/s")
        of_bytes.update(-10)
    assert list(bar(["one", "two"], desc="files")) == ["one", "two"]
    with bar(total=2) as of_files:
        of_files.update()
    assert [step.done for step in told] == [10, 60, 50]
    assert capfd.readouterr() == ("", "")


def test_more_bytes_than_there_are_is_all_of_them() -> None:
    told: list[Progress] = []
    byte_counter("downloading", 0, 10, told.append)(12)
    assert told[-1] == Progress("downloading", 10, 10, "bytes")
