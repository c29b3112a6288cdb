"""Updates of the Chat tab's components that show a conversation, a reply in the making, a sentence.

Every method returns the components that change with what they then show.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from llava_chat.engine.base import Opening
from llava_chat.engine.states import Ready, State
from llava_chat.errors import NotFoundError
from llava_chat.image import Picture, png_bytes
from llava_chat.store import StoredConversation
from llava_chat.web.chat import panel, sidebar, status, thread
from llava_chat.web.chat.examples import Example
from llava_chat.web.chat.layout import ChatParts, export_links
from llava_chat.web.chat.models import Models
from llava_chat.web.chat.options import Options, options_of
from llava_chat.web.chat.replies import Progress
from llava_chat.web.chat.turns import Turns
from llava_chat.web.elements import notice
from llava_chat.web.people import Person

Updates = dict[Any, Any]


@dataclass
class View:
    """What one open page shows. Lives in gr.State, and holds ids and the words of the search only.

    The id proves nothing: the store gives a conversation to its owner alone. visit: grows whenever
    the page goes on to show something else; who waited for anything compares it again before
    showing the outcome. known: False until the first event, after a restart of the server too.
    stop_wanted: Stop was pressed since the last question, perhaps before its reply began. models:
    the state that the header shows. warned: what is left of some allowance is shown.
    """

    conversation_id: str | None = None
    search: str = ""
    visit: int = 0
    known: bool = False
    stop_wanted: bool = False
    models: State | None = None
    warned: bool = False

    def leave(self) -> int:
        """Count a visit that begins, and return its number."""
        self.visit += 1
        return self.visit


class Showing:
    """Knows which component shows what."""

    def __init__(
        self,
        parts: ChatParts,
        turns: Turns,
        models: Models,
        defaults: Options,
        examples: Sequence[Example],
    ) -> None:
        self._parts = parts
        self._turns = turns
        self.models = models
        self._defaults = defaults
        self._examples = examples

    def conversation(
        self, owner: str, view: View, options: Options | None = None, *, fields: bool = False
    ) -> Updates:
        """Everything of the conversation that `view` names, or of a chat not yet begun.

        options: what the context is measured with, by default the conversation's own. fields: put
        the conversation's own settings into the panel too.
        """
        parts = self._parts
        updates = {parts.live: "", **self.listed(owner, view)}
        if view.conversation_id is None:
            return updates | {
                parts.thread: thread.welcome(self._examples),
                parts.meter: status.meter(None),
                parts.export: "",
            }
        stored = self._turns.store.load(owner, view.conversation_id)
        own = options_of(stored, self._defaults)
        model = self.models.answering
        updates |= self._meter(stored, options or own) | {
            parts.thread: thread.thread(
                stored,
                self._pictures(stored),
                replying=self._turns.replies.running(stored.id) is not None,
                padded_boxes=None if model is None else model.padded_boxes,
            ),
            parts.export: export_links(stored.id),
        }
        return updates | (parts.settings.show(own) if fields else {})

    def model(self, view: View) -> Updates:
        """Which model there is, or how far it is, and what hangs on that in any conversation."""
        view.models = state = self.models.state
        opening = isinstance(state, Opening)
        model = state.model if isinstance(state, Ready) else None
        return {
            self._parts.model: self.models.header(state),
            self._parts.watch: gr.Timer(active=opening),
            self._parts.settings.own_template: panel.own_template(model),
        }

    def meter(self, owner: str, view: View) -> Updates:
        """How full the context of the model that is there now is."""
        if view.conversation_id is None:
            return {}
        stored = self._turns.store.load(owner, view.conversation_id)
        return self._meter(stored, options_of(stored, self._defaults))

    def _meter(self, stored: StoredConversation, options: Options) -> Updates:
        return {self._parts.meter: status.meter(self._turns.context(stored, options))}

    def allowances(self, person: Person, view: View) -> Updates:
        """What is left of the person's allowances, where it is little; {} while nothing changes."""
        shown = status.allowances(self._turns.allowances.left(person))
        before, view.warned = view.warned, bool(shown)
        return {self._parts.allowances: shown} if shown or before else {}

    def listed(self, owner: str, view: View) -> Updates:
        """The sidebar's list."""
        found = self._turns.store.list(owner, view.search)
        shown = sidebar.conversations(found, view.conversation_id, view.search)
        return {self._parts.conversations: shown}

    def progress(self, progress: Progress | None) -> Updates:
        """A reply in the making, or none."""
        return {self._parts.live: "" if progress is None else status.live_reply(progress)}

    def unsaved(self, progress: Progress) -> Updates:
        """A whole reply that the store could not keep."""
        return {self._parts.live: status.unsaved_reply(progress.text)}

    def composer(self, *, running: bool, empty: bool = False) -> Updates:
        """The composer with its one button: send, or stop while a reply is written."""
        changes: dict[str, Any] = {"submit_btn": not running, "stop_btn": running}
        if empty:
            changes["value"] = None
        return {self._parts.composer: gr.MultimodalTextbox(**changes)}

    def given_back(self, text: str, files: Sequence[Path], *, running: bool = False) -> Updates:
        """What was said, in the composer again; composer.js keeps what was typed since."""
        value: dict[str, str | list[Any]] = {"text": text, "files": [str(file) for file in files]}
        shown = gr.MultimodalTextbox(value=value, submit_btn=not running, stop_btn=running)
        return {self._parts.composer: shown}

    def sentence(self, text: str) -> Updates:
        """One sentence that says what could not be done."""
        return {self._parts.notice: notice(text, "error")}

    def told(self, text: str) -> Updates:
        """A sentence that a person should know, or none."""
        return {self._parts.notice: notice(text)}

    def default_fields(self) -> Updates:
        """The settings panel at the server's defaults."""
        return self._parts.settings.show(self._defaults)

    def _pictures(self, stored: StoredConversation) -> dict[str, Picture]:
        """By id; one whose file was lost is left out, and hides no word of the conversation."""
        found: dict[str, Picture] = {}
        for picture_id in {id for message in stored.path for id in message.picture_ids}:
            with suppress(NotFoundError):
                found[picture_id] = self._turns.store.picture(picture_id)
        return found


def as_upload(picture: Picture) -> Path:
    """A copy of a kept picture where Gradio takes files from, its id for a name."""
    folder = Path(get_upload_folder()) / uuid.uuid4().hex
    folder.mkdir(parents=True)
    file = folder / f"{picture.id}.png"
    if isinstance(picture.source, Path):
        shutil.copyfile(picture.source, file)
    else:
        file.write_bytes(png_bytes(picture))
    return file
