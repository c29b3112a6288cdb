"""A folder is a whole export or none, says what is in it, and comes back as it went."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from llava_chat import __version__
from llava_chat.errors import FeedbackError, PictureError, StoreError, UsageError
from llava_chat.feedback import Feedback, Filter
from llava_chat.feedback.export import FORMATS, export_feedback, import_feedback
from llava_chat.store import ConversationStore
from tests.feedback.conftest import Talk


@pytest.fixture
def elsewhere(tmp_path: Path) -> ConversationStore:
    """Another, empty store."""
    return ConversationStore.open(f"sqlite:///{tmp_path}/elsewhere.db", tmp_path / "elsewhere")


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("form", FORMATS)
def test_the_manifest_says_what_is_there(
    form: str, store: ConversationStore, said: Talk, tmp_path: Path
) -> None:
    output = tmp_path / "new" / "folder"
    since = datetime(2020, 1, 1, tzinfo=UTC)
    told = export_feedback(store, form, output, Filter(since=since))
    assert json.loads((output / "manifest.json").read_text(encoding="utf-8")) == told
    assert (told["format"], told["schema"], told["app_version"]) == (form, 1, __version__)
    assert told["filters"] == {"since": "2020-01-01T00:00:00+00:00"}
    counts = told["counts"]
    assert (counts["replies"], counts["people"], counts["liked"], counts["disliked"]) == (
        4,
        2,
        2,
        1,
    )
    assert (counts["corrections"], counts["rankings"]) == (1, 1)
    files = _files(output)
    del files["manifest.json"]
    assert told["files"] == {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in files.items()
    }
    assert len([name for name in files if name.startswith("pictures/")]) == counts["pictures"]
    assert list(output.parent.iterdir()) == [output]


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_said_is_an_export_too(form: str, store: ConversationStore, tmp_path: Path) -> None:
    told = export_feedback(store, form, tmp_path / "empty")
    assert told["counts"]["records"] == 0
    if form == "llava":
        assert json.loads((tmp_path / "empty" / "feedback.json").read_text()) == []


def test_a_dry_run_writes_nothing(store: ConversationStore, said: Talk, tmp_path: Path) -> None:
    told = export_feedback(store, "dpo", tmp_path / "x", dry_run=True)
    assert (told["counts"]["records"], told["counts"]["pictures"], told["files"]) == (2, 1, {})
    assert not (tmp_path / "x").exists()


def test_a_folder_with_something_in_it_is_left_alone(
    store: ConversationStore, tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        export_feedback(store, "csv", tmp_path / "notes")
    (tmp_path / "empty").mkdir()
    export_feedback(store, "csv", tmp_path / "empty")
    assert (tmp_path / "empty" / "feedback.csv").is_file()


def test_an_export_that_fails_leaves_nothing(
    store: ConversationStore, said: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises(StoreError, match=r"Nothing was exported: .*No space left"):
        export_feedback(store, "jsonl", place / "x")
    assert list(place.iterdir()) == []


def test_there_and_back_gives_the_same_bytes(
    store: ConversationStore,
    elsewhere: ConversationStore,
    feedback: Feedback,
    said: Talk,
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    export_feedback(store, "jsonl", first)
    assert import_feedback(elsewhere, first) == {"rows": 4, "new": 4}
    export_feedback(elsewhere, "jsonl", second)
    assert _files(second) == _files(first)
    assert import_feedback(elsewhere, first) == {"rows": 4, "new": 0}
    with pytest.raises(StoreError, match="is here already and is somebody's"):
        import_feedback(store, first)
    feedback.decide("ann", True)
    assert len(list(Feedback.of(elsewhere).rows())) == 4
    elsewhere.close()


def _cut(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "feedback.jsonl").write_text("{}\n", encoding="utf-8")


def _rewrite(change: Callable[[dict[str, Any]], object]) -> Callable[[Path, list[Any]], None]:
    """Change the first row, with a manifest that fits."""

    def apply(folder: Path, rows: list[dict[str, Any]]) -> None:
        change(rows[0])
        _write(folder, "".join(json.dumps(row) + "\n" for row in rows))

    return apply


def _write(folder: Path, text: str) -> None:
    (folder / "feedback.jsonl").write_bytes(text.encode())
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["feedback.jsonl"]["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def _manifest(**changed: object) -> Callable[[Path, list[Any]], None]:
    def apply(folder: Path, rows: list[dict[str, Any]]) -> None:
        told = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        (folder / "manifest.json").write_text(json.dumps(told | changed), encoding="utf-8")

    return apply


WRONG: dict[str, tuple[Callable[[Path, list[Any]], None], str]] = {
    "no export": (lambda folder, _: (folder / "manifest.json").unlink(), "name the folder"),
    "another format": (_manifest(format="csv"), "format: only an export"),
    "newer": (_manifest(schema=2), "schema: it is 2"),
    "cut off": (_cut, "cut off or changed"),
    "no JSON": (lambda folder, _: _write(folder, "{nonsense\n"), "row 0: it is not valid JSON"),
    "a key twice": (lambda folder, _: _write(folder, '{"a": 1, "a": 2}\n'), "stands twice"),
    "no number": (lambda folder, _: _write(folder, '{"a": NaN}\n'), "NaN is no number"),
    "a list": (lambda folder, _: _write(folder, "[]\n"), "row 0: it must be an object"),
    "an owner": (_rewrite(lambda row: row.update(owner="ann")), "row 0, owner: "),
    "no path": (_rewrite(lambda row: row.update(path=[])), "path: it must go from"),
    "a forged turn": (
        _rewrite(lambda row: row["path"][0].update(role="system")),
        r"path\[0\], role: it must be user or",
    ),
    "another parent": (
        _rewrite(lambda row: row["path"][1].update(parent_id="0" * 32)),
        r"path\[1\]: it must be what",
    ),
    "a path as a picture": (
        _rewrite(lambda row: row["path"][0].update(pictures=["../../etc/passwd"])),
        "is no picture of an export",
    ),
    "a reason": (
        _rewrite(lambda row: row["rating"].update(reasons=["ugly"])),
        "row 0, reasons: there is no reason 'ugly'",
    ),
    "a time": (_rewrite(lambda row: row["rating"].update(created_at="now")), "must be a time"),
    "a seed": (
        _rewrite(lambda row: row["path"][1]["record"].update(seed=2**64)),
        "record, seed: it is out of range",
    ),
    "a record": (
        _rewrite(lambda row: row["path"][1]["record"].pop("settings")),
        "record, settings: it is missing",
    ),
}


@pytest.mark.parametrize(("spoil", "told"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_export_is_refused_by_name(
    spoil: Callable[[Path, list[Any]], None],
    told: str,
    store: ConversationStore,
    elsewhere: ConversationStore,
    said: Talk,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "export"
    export_feedback(store, "jsonl", folder)
    lines = (folder / "feedback.jsonl").read_text(encoding="utf-8").splitlines()
    spoil(folder, [json.loads(line) for line in lines])
    with pytest.raises(FeedbackError, match=told) as error:
        import_feedback(elsewhere, folder)
    assert str(folder) in str(error.value)
    assert list(Feedback.of(elsewhere).rows()) == []
    elsewhere.close()


def test_a_picture_that_is_another_one_is_refused(
    store: ConversationStore, elsewhere: ConversationStore, said: Talk, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    export_feedback(store, "jsonl", folder)
    one, other = sorted((folder / "pictures").iterdir())
    shutil.copyfile(one, other)
    with pytest.raises(FeedbackError, match="shows other pixels"):
        import_feedback(elsewhere, folder)
    for picture in (one, other):
        picture.write_text("<svg onload=alert(1)>")
    with pytest.raises(PictureError):
        import_feedback(elsewhere, folder)
    elsewhere.close()
