"""The file of who may sign in: no password in it, written whole, by a command."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import pytest

from llava_chat.__main__ import main
from llava_chat.accounts import AccountFile, at_least
from llava_chat.errors import LlavaChatError, UsageError

PASSWORD = "correct horse battery"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "people.json"


def test_a_password_is_not_in_the_file_and_nobody_else_reads_it(path: Path) -> None:
    people = AccountFile(path)
    assert people.put("ada", "lead", PASSWORD)
    assert PASSWORD not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert people.signs_in("ada", PASSWORD)
    assert not people.signs_in("ada", PASSWORD + " ")
    assert not people.signs_in("grace", PASSWORD)


def test_a_running_server_sees_who_came_and_who_went(path: Path) -> None:
    running, host = AccountFile(path), AccountFile(path)
    assert running.accounts() == {}
    host.put("ada", "annotator", PASSWORD)
    assert running.role_of("ada") == "annotator"
    assert not host.put("ada", "host", "another password")
    assert running.role_of("ada") == "host"
    assert not running.signs_in("ada", PASSWORD)
    host.remove("ada")
    assert running.role_of("ada") is None
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["", "a b", "../ada", "a" * 65, "ada\n", "ADA"])
def test_a_name_that_could_be_mistaken_is_refused(path: Path, name: str) -> None:
    people = AccountFile(path)
    people.put("ada", "lead", PASSWORD)
    with pytest.raises(UsageError, match=r"name|too like"):
        people.put(name, "lead", PASSWORD)
    assert set(people.accounts()) == {"ada"}


@pytest.mark.parametrize("password", ["short", "x" * 257])
def test_a_password_has_a_length(path: Path, password: str) -> None:
    with pytest.raises(UsageError, match="8 to 256"):
        AccountFile(path).put("ada", "lead", password)
    assert not path.exists()


@pytest.mark.parametrize(
    "row",
    [
        {"name": "ada", "role": "king", "hash": "scrypt$16384$8$5$AA==$AA=="},
        {"name": "ada", "role": "host", "hash": "scrypt$1073741824$8$5$AA==$AA=="},
        {"name": "ada", "role": "host", "hash": PASSWORD},
        {"name": "ada", "role": "host"},
        "ada",
    ],
)
def test_a_file_that_is_something_else_is_refused_by_name(path: Path, row: object) -> None:
    path.write_text(json.dumps({"people": [row]}))
    with pytest.raises(LlavaChatError, match=r"people\.json"):
        AccountFile(path).accounts()


def test_roles_are_in_order() -> None:
    assert at_least("host", "lead") and at_least("lead", "lead")
    assert not at_least("annotator", "lead") and not at_least("lead", "host")


def test_the_command_adds_lists_and_removes(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--people-file", str(path)]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    assert main(["people", "add", "ada", "--role", "lead", *where]) == 0
    assert AccountFile(path).signs_in("ada", PASSWORD)
    assert main(["people", "list", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == [{"name": "ada", "role": "lead"}]
    assert main(["people", "remove", "ada", *where]) == 0
    assert main(["people", "remove", "ada", *where]) == 2
    assert "nobody called 'ada'" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert main(["people", "add", "ada", *where]) == 2
