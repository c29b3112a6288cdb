"""Updates of the Chat tab's components that show a conversation, a reply in the making, a sentence.

Every method returns the components that change with what they then show.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from llava_chat.engine.base import Opening
from llava_chat.engine.states import Ready, State
from llava_chat.errors import StoreError
from llava_chat.feedback import Feedback
from llava_chat.image import Picture, png_bytes
from llava_chat.store import KeptPictures, Opinion, StoredConversation
from llava_chat.web.chat import panel, sidebar, status, thread
from llava_chat.web.chat.examples import Example
from llava_chat.web.chat.layout import ChatParts, export_links, unkept_switch
from llava_chat.web.chat.models import Models
from llava_chat.web.chat.options import Options, options_of
from llava_chat.web.chat.replies import LiveReply, Progress
from llava_chat.web.chat.turns import Turns
from llava_chat.web.chat.unkept import Unkept
from llava_chat.web.elements import notice
from llava_chat.web.people import Person

SECOND_PICTURE = (
    "This model reads a chat's first picture best. For another picture, a new chat answers better."
)

Updates = dict[Any, Any]


@dataclass
class View:
    """What one open page shows. Lives in gr.State, and holds ids and the words of the search only.

    The id proves nothing: the store gives a conversation to its owner alone. visit: grows whenever
    the page goes on to show something else; who waited for anything compares it again before
    showing the outcome. known: False until the first event, after a restart of the server too.
    stop_wanted: Stop was pressed since the last question, perhaps before its reply began. asking:
    questions whose reply has not begun. models: the state that the header shows. warned: what is
    left of some allowance is shown. page: Gradio's name for it, which proves nothing either.
    """

    conversation_id: str | None = None
    search: str = ""
    visit: int = 0
    known: bool = False
    stop_wanted: bool = False
    asking: int = 0
    models: State | None = None
    warned: bool = False
    page: str = ""

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
        self._feedback = Feedback.of(turns.store)
        self.unkept = Unkept(turns)

    def conversation(
        self, owner: str, view: View, options: Options | None = None, *, fields: bool = False
    ) -> Updates:
        """Everything of the conversation that `view` names, or of a chat not yet begun.

        options: what the context is measured with, by default the conversation's own. fields: put
        the conversation's own settings into the panel too.
        """
        if view.conversation_id is None:
            return self._welcome() | self.listed(owner, view)
        stored = self._turns.store.load(owner, view.conversation_id)
        own, pictures = options_of(stored, self._defaults), self._turns.pictures(stored.path)
        updates = self._meter(stored, options or own, pictures)
        updates |= self._thread(owner, view, stored, pictures)
        if fields:
            updates |= self._parts.settings.show(own, self._adapters())
        return updates | self.listed(owner, view)

    def begun(self, owner: str, view: View, live: LiveReply, *, brings_picture: bool) -> Updates:
        """The conversation at the start of a reply, before which nothing is counted again.

        brings_picture: with the question, which is not the best for every model.
        """
        stored = self._turns.store.load(owner, live.conversation_id)
        asked = [message for message in stored.path if message.role == "user"]
        second = brings_picture and any(message.picture_ids for message in asked[:-1])
        return {
            **self._thread(owner, view, stored, self._turns.pictures(stored.path)),
            **self.listed(owner, view),
            **self.told(SECOND_PICTURE if second else ""),
            self._parts.meter: status.meter(live.use),
        }

    def _welcome(self) -> Updates:
        return {
            self._parts.live: "",
            self._parts.thread: thread.welcome(self._examples),
            self._parts.meter: status.meter(None),
            self._parts.export: "",
        }

    def _thread(
        self, owner: str, view: View, stored: StoredConversation, pictures: KeptPictures
    ) -> Updates:
        """One whose picture was lost hides no word of itself."""
        model = self.models.answering
        if not stored.kept:
            self.unkept.note(owner, view.page, stored.id)
        return {
            self._parts.unkept: gr.Checkbox(**unkept_switch(stored.kept)),
            self._parts.live: "",
            self._parts.thread: thread.thread(
                stored,
                pictures,
                replying=self._turns.replies.running(stored.id) is not None,
                padded_boxes=None if model is None else model.padded_boxes,
                opinions=self._opinions(owner, stored.id),
            ),
            self._parts.export: export_links(stored.id),
        }

    def _opinions(self, owner: str, conversation_id: str) -> Mapping[str, Opinion]:
        """What was said of the replies; where that cannot be read the conversation can be."""
        try:
            return self._feedback.of_conversation(owner, conversation_id)
        except StoreError:
            return {}

    def may_be_unkept(self) -> Updates:
        """The switch before a new chat, where another chat was shown."""
        return {self._parts.unkept: gr.Checkbox(**unkept_switch(None))}

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
        pictures = self._turns.pictures(stored.path)
        return self._meter(stored, options_of(stored, self._defaults), pictures)

    def _meter(
        self, stored: StoredConversation, options: Options, pictures: KeptPictures
    ) -> Updates:
        return {self._parts.meter: status.meter(self._turns.context(stored, options, pictures))}

    def allowances(self, person: Person, view: View) -> Updates:
        """What is left of the person's allowances, where it is little; {} while nothing changes."""
        shown = status.allowances(self._turns.allowances.left(person))
        before, view.warned = view.warned, bool(shown)
        return {self._parts.allowances: shown} if shown or before else {}

    def listed(self, owner: str, view: View) -> Updates:
        """The sidebar's list."""
        found = self._turns.store.list(owner, view.search)
        own = self.unkept.of_page(owner, view.page)
        found = [one for one in found if one.kept or one.id in own]
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
        return self._parts.settings.show(self._defaults, self._adapters())

    def adapters(self) -> Updates:
        """The adapters that there are just now. Looks at files, so not for the server's loop."""
        return self._parts.settings.offer(self._adapters())

    def _adapters(self) -> list[str]:
        return [each.name for each in self._turns.engine.adapters() if not each.problem]


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
