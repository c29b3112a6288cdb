"""A server in a process of its own with a small random model, and a real Chromium that uses it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import (
    Browser,
    Error,
    Locator,
    Page,
    Request,
    ViewportSize,
    expect,
    sync_playwright,
)

from llava_chat.model.checkpoint import Checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",  # nothing moves that has to be painted without a GPU
]
START_S = 240  # a guard against waiting for ever; nothing here is a measurement
PATIENCE_MS = 45_000
CONTEXT_TOKENS = 8192  # room for a reply that is long enough to be stopped
REPLY_TOKENS = 12
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
SLOW_LAYERS = 16  # some milliseconds a token: 4,096 of them outlast every step of a test


@pytest.fixture(scope="session")
def model_folder(
    tmp_path_factory: pytest.TempPathFactory, random_checkpoint: Callable[..., Checkpoint]
) -> Path:
    """A LLaVA of random weights: what it says means nothing, and it says it by the real engine."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(random_checkpoint(CONTEXT_TOKENS, layers=SLOW_LAYERS), folder)
    return folder


@dataclass
class Server:
    """`python -m llava_chat serve` with a data folder that outlives it."""

    model: Path
    folder: Path
    port: int
    options: tuple[str, ...] = ()
    process: subprocess.Popen[str] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it and wait until the page answers."""
        # Greedy, random weights go on for ever: a reply ends at its limit, or is stopped.
        self.process = self.run("--max-new-tokens", str(REPLY_TOKENS), "--temperature", "0")
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                urllib.request.urlopen(self.url, timeout=START_S).close()
                return
            except OSError:
                time.sleep(0.1)
        self.process.kill()
        raise AssertionError(f"the server did not start: {self.process.communicate()}")

    def run(self, *options: str) -> subprocess.Popen[str]:
        """Run the command with these options besides its own."""
        command = [sys.executable, "-m", "llava_chat", "serve", "--model", str(self.model)]
        command += ["--port", str(self.port), "--data-dir", str(self.folder / "data")]
        command += [*self.options, *options]
        variables = {
            **os.environ,
            "LLAVA_CHAT_SECRET": "a key that only these tests know",
        }
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=START_S)
        assert "Traceback" not in said
        return self.process.returncode


@pytest.fixture(scope="session")
def server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server; a test that stops it starts it again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(model_folder, tmp_path_factory.mktemp("server"), port)
    server.start()
    yield server
    if server.process is not None and server.process.poll() is None:
        server.process.kill()
        server.process.communicate()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser that the system brings."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@dataclass
class Chat:
    """What a person does with the page, and what they see."""

    page: Page
    server: Server

    def open(self, query: str = "") -> None:
        """Open the page and wait until it can be used."""
        self.page.goto(self.server.url + query)
        self._usable()

    def reload(self) -> None:
        """Load the page again and wait until it can be used."""
        self.page.reload()
        self._usable()

    def _usable(self) -> None:
        expect(self.box).to_be_visible()
        expect(self.page.locator("#thread .thread")).to_be_attached()
        expect(self.page.locator("#tabs[data-panel]")).to_be_attached()  # our scripts, too

    @property
    def box(self) -> Locator:
        """Where a person writes."""
        return self.page.locator("#composer textarea")

    @property
    def messages(self) -> Locator:
        """What the person said."""
        return self.page.locator("#thread .message.user .text")

    @property
    def replies(self) -> Locator:
        """Replies that are finished."""
        return self.page.locator("#thread .message.reply > .text")

    @property
    def listed(self) -> Locator:
        """The sidebar's conversations."""
        return self.page.locator("#conversations .open")

    def attach(self, *pictures: Path) -> None:
        """Choose files, and wait until they are uploaded."""
        self.page.set_input_files('#composer input[type="file"]', list(pictures))
        expect(self.page.locator("#composer .thumbnail-item")).to_have_count(len(pictures))

    def say(self, text: str) -> None:
        """Write and send."""
        self.box.fill(text)
        self.box.press("Enter")

    def ask(self, text: str, *pictures: Path) -> None:
        """Say something and wait for the end of the reply to it."""
        before = self.replies.count()
        if pictures:
            self.attach(*pictures)
        self.say(text)
        expect(self.replies).to_have_count(before + 1)
        self.idle()

    def idle(self) -> None:
        """Wait until no reply is being written."""
        expect(self.page.locator("#composer .submit-button")).to_be_visible()

    def allow_long_replies(self) -> None:
        """Set the longest reply so high that it can be stopped in time."""
        self.page.get_by_role("button", name="Settings", exact=True).click()
        longest = self.page.get_by_label("number input for Longest reply")
        longest.fill("4096")
        longest.press("Tab")
        self.page.get_by_role("button", name="Close the settings").click()

    def writing(self) -> None:
        """Wait until a reply is being written."""
        expect(self.page.locator("#live .text")).not_to_be_empty()


NewChat = Callable[..., Chat]


class Visitors:
    """Browsers that were never here, as far as anybody can tell.

    A page that was used before remembers the scripts as compiled, which is most of what opening it
    takes; its cookies and what it stored are gone.
    """

    def __init__(self, chromium: Browser) -> None:
        self._chromium = chromium
        self._free: dict[str, list[Page]] = {}

    @contextmanager
    def visiting(self, url: str) -> Iterator[Callable[..., Page]]:
        """Gives out pages, with such options as a context takes, which may ask `url` alone.

        for_good: its context is closed in the end, for tests that change it beyond a page's state.
        """
        taken: list[tuple[Page, str]] = []
        wrong: list[str] = []

        def note(request: Request) -> None:
            if not request.url.startswith((url, "data:", "blob:", "about:")):
                wrong.append(request.url)

        def fail(error: Error) -> None:
            wrong.append(str(error))

        def new(
            *, viewport: ViewportSize = DESKTOP, for_good: bool = False, **options: Any
        ) -> Page:
            kind = repr(sorted(options.items()))
            free = self._free.get(kind)
            page = free.pop() if free else self._chromium.new_context(**options).new_page()
            page.set_viewport_size(viewport)
            taken.append((page, "" if for_good else kind))
            page.set_default_timeout(PATIENCE_MS)
            page.context.on("request", note)
            page.on("pageerror", fail)
            return page

        yield new
        for page, kind in taken:
            page.context.remove_listener("request", note)
            page.remove_listener("pageerror", fail)
            self._give_back(page, kind)
        assert wrong == []

    def _give_back(self, page: Page, kind: str) -> None:
        """One that cannot be asked any more is closed altogether."""
        context = page.context
        try:
            for other in context.pages:
                if other != page:
                    other.close()
            page.evaluate("localStorage.clear(); sessionStorage.clear()")
            page.unroute_all()
            page.goto("about:blank")
            context.clear_cookies()
        except Error:
            kind = ""
        if kind:
            self._free.setdefault(kind, []).append(page)
        else:
            context.close()


@pytest.fixture(scope="session")
def visitors(chromium: Browser) -> Visitors:
    """Those of one Chromium, which closes them with itself."""
    return Visitors(chromium)


@pytest.fixture
def new_chat(visitors: Visitors, server: Server) -> Iterator[NewChat]:
    """Open the page in a browser that was never here. Nothing may ask another host for anything."""
    with visitors.visiting(server.url) as new_page:

        def new(query: str = "", **options: Any) -> Chat:
            chat = Chat(new_page(**options), server)
            chat.open(query)
            return chat

        yield new


@pytest.fixture
def chat(new_chat: NewChat) -> Chat:
    """One such page, 1280 x 800."""
    return new_chat()


@pytest.fixture(scope="session")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A red circle on white."""
    image = Image.new("RGB", (320, 240), "white")
    ImageDraw.Draw(image).ellipse((90, 50, 230, 190), fill="red")
    path = tmp_path_factory.mktemp("drawings") / "circle.png"
    image.save(path)
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here drives a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
