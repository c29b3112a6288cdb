"""Where rows lie in a file: what a whole parse finds, however the file is cut into pieces."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from llava_chat.errors import TrainingDataError
from llava_chat.training.data import open_rows
from llava_chat.training.data.offsets import Offsets, array_offsets, line_offsets

HARD = st.text(st.sampled_from('\\"[]{},:/ \nnué🦩'), max_size=8)
VALUES = st.recursive(
    st.none() | st.integers() | HARD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HARD, inner, max_size=3),
    max_leaves=8,
)
anywhere = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def rows_at(path: Path, offsets: Offsets) -> list[Any]:
    text = path.read_bytes()
    return [json.loads(text[a:b]) for a, b in zip(offsets.starts, offsets.ends, strict=True)]


@anywhere
@given(
    rows=st.lists(VALUES, min_size=1, max_size=5),
    piece_bytes=st.integers(1, 60),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
@example(rows=['\\"', "\\\\"], piece_bytes=1, indent=None, ascii_only=False)
def test_the_elements_of_an_array(
    tmp_path: Path, rows: list[Any], piece_bytes: int, indent: int | None, ascii_only: bool
) -> None:
    path = tmp_path / "rows.json"
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    path.write_text(f" \n{text}\n ", encoding="utf-8")
    assert rows_at(path, array_offsets(path, piece_bytes)) == rows


@anywhere
@given(
    rows=st.lists(VALUES | st.just(...), max_size=6),
    piece_bytes=st.integers(1, 60),
    ends=st.sampled_from(["", "\n", "\r\n", "\n \n"]),
)
def test_the_lines_that_are_not_blank(
    tmp_path: Path, rows: list[Any], piece_bytes: int, ends: str
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join("" if row is ... else json.dumps(row) for row in rows) + ends)
    wanted = [row for row in rows if row is not ...]
    if wanted:
        assert rows_at(path, line_offsets(path, piece_bytes)) == wanted
    else:
        with pytest.raises(TrainingDataError, match="at least one row"):
            line_offsets(path, piece_bytes)


@anywhere
@given(text=st.text(st.sampled_from('[]{},"\\ 1'), max_size=12), piece_bytes=st.integers(1, 8))
def test_what_is_no_list_is_refused_and_nothing_else_is_taken_for_one(
    tmp_path: Path, text: str, piece_bytes: int
) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    try:
        wanted = json.loads(text)
    except ValueError:
        wanted = None
    try:
        found = rows_at(path, array_offsets(path, piece_bytes))
    except (TrainingDataError, ValueError):
        found = None
    assert found == (wanted if isinstance(wanted, list) and wanted else None)


def peak_bytes(path: Path) -> int:
    tracemalloc.start()
    try:
        rows = open_rows(path)
        for number in range(0, len(rows), len(rows) // 50):
            rows.instruction(number)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, name: str) -> None:
    says = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "word " * 200}]
    row = json.dumps({"conversations": says})
    path = tmp_path / name
    first, between, last = ("[", ",", "]") if name.endswith(".json") else ("", "\n", "")
    peaks = []
    for count in (5_000, 15_000):
        path.write_text(first + between.join([row] * count) + last)
        peaks.append(peak_bytes(path))
    # The file grew by 11 MB; what is kept of a row, and copied once, is 16 bytes.
    assert peaks[1] - peaks[0] < 10_000 * 48 + 2**18
