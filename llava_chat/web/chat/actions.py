"""What the controls of the thread and of the list do: each function asks `Turns` for one thing.

They block, so the handlers run each in a thread of its own, with a copy of what the page shows.
"""

from __future__ import annotations

from llava_chat.errors import InputError
from llava_chat.web.chat.examples import Example
from llava_chat.web.chat.options import Options
from llava_chat.web.chat.replies import LiveReply
from llava_chat.web.chat.showing import Showing, Updates, View, as_upload
from llava_chat.web.chat.turns import Turns

Detail = dict[str, str]  # what the page sends with an action


class Actions:
    """The actions of one Chat tab by name: `replying` start a reply, `changing` change something.

    Both raise LlavaChatError, a sentence, for what cannot be done.
    """

    def __init__(self, turns: Turns, showing: Showing, examples: tuple[Example, ...]) -> None:
        self._turns = turns
        self._showing = showing
        self._examples = examples
        self.replying = {
            "regenerate": self._regenerate,
            "edit": self._edit,
            "example": self._example,
        }
        self.changing = {
            "undo": self._undo,
            "choose": self._choose,
            "rename": self._rename,
            "search": self._search,
            "switch": self._switch,
        }

    def _regenerate(self, owner: str, view: View, detail: Detail, options: Options) -> LiveReply:
        return self._turns.regenerate(owner, _open_one(view), options)

    def _edit(self, owner: str, view: View, detail: Detail, options: Options) -> LiveReply:
        message_id, text = detail.get("message", ""), detail.get("text", "")
        return self._turns.edit(owner, _open_one(view), message_id, text, options)

    def _example(self, owner: str, view: View, detail: Detail, options: Options) -> LiveReply:
        number = detail.get("value", "")
        if not number.isdecimal() or int(number) >= len(self._examples):
            raise InputError("There is no such example. Reload the page.")
        example = self._examples[int(number)]
        live = self._turns.ask(owner, None, example.question, [example.file], options)
        if not options.kept:
            self._showing.unkept.note(owner, view.page, live.conversation_id)
        return live

    def _undo(self, owner: str, view: View, detail: Detail) -> Updates:
        if "waiting" in detail:  # the pictures that come back would take their place
            raise InputError("A picture waits to be sent. Send or remove it, then take this back.")
        message = self._turns.undo(owner, _open_one(view))
        pictures = [self._turns.store.picture(picture_id) for picture_id in message.picture_ids]
        files = [as_upload(picture) for picture in pictures]
        return {
            **self._showing.conversation(owner, view),
            **self._showing.given_back(message.text, files),
        }

    def _choose(self, owner: str, view: View, detail: Detail) -> Updates:
        self._turns.choose(owner, _open_one(view), detail.get("message", ""))
        return self._showing.conversation(owner, view)

    def _rename(self, owner: str, view: View, detail: Detail) -> Updates:
        self._turns.store.rename(owner, detail.get("conversation", ""), detail.get("text", ""))
        return self._showing.listed(owner, view)

    def _search(self, owner: str, view: View, detail: Detail) -> Updates:
        return self._showing.listed(owner, view)

    def _switch(self, owner: str, view: View, detail: Detail) -> Updates:
        self._showing.models.switch(detail.get("value", ""))
        return self._showing.model(view)


def _open_one(view: View) -> str:
    if view.conversation_id is None:
        raise InputError("No conversation is open here. Choose one, or ask something.")
    return view.conversation_id
