"""The page's scripts reach the browser as modules, and never in the version before an update."""

from __future__ import annotations

import re

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from llava_chat import ASSETS
from llava_chat.web.scripts import FOLDER, script_routes, script_tags

FIRST = sorted(path.name for path in FOLDER.glob("*.js"))
NAMES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.js"))


@pytest.fixture
def client() -> TestClient:
    return TestClient(Starlette(routes=script_routes()))


@pytest.mark.parametrize("name", NAMES)
def test_a_script_is_a_module_that_is_asked_for_anew(client: TestClient, name: str) -> None:
    answer = client.get(f"/js/{name}")
    assert answer.text == (FOLDER / name).read_text(encoding="utf-8")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get(f"/js/{name}", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    assert again.headers["cache-control"] == "no-cache"


def test_the_page_begins_with_one_and_asks_for_all_at_once() -> None:
    assert re.findall(r'src="js/([^"]+)"', script_tags()) == ["page.js"]
    assert re.findall(r'href="js/([^"]+)"', script_tags()) == FIRST


@pytest.mark.parametrize("name", NAMES)
def test_what_a_script_imports_is_there(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    modules = re.findall(r'^import .*"(\.\.?/.+)";$', text, re.MULTILINE)
    assert len(modules) == len(re.findall(r"^import ", text, re.MULTILINE))
    modules += re.findall(r'[^.]import\("(.+)"\)', text)
    for module in modules:
        assert (FOLDER / name).parent.joinpath(module).resolve().is_relative_to(FOLDER)
        assert (FOLDER / name).parent.joinpath(module).is_file(), module


def test_a_tab_brings_its_styles(client: TestClient) -> None:
    answer = client.get("/css/annotate.css")
    assert answer.text == (ASSETS / "css" / "annotate.css").read_text(encoding="utf-8")
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


def test_nothing_beside_the_scripts_is_served(client: TestClient) -> None:
    assert client.get("/js/..%2Fscenes%2Fconfig.json").status_code == 404
