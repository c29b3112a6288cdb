"""Paths, versions and leaves of a conversation's tree: pure functions on ids.

A message's other versions are its siblings, the messages with the same parent. Imports nothing of
this project.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """A message without its words. parent_id is None for a first message."""

    id: str
    parent_id: str | None
    role: str


class Tree:
    """The messages of one conversation, given oldest first; a parent is older than its children.

    >>> tree = Tree([Node("ask", None, "user"), Node("reply", "ask", "assistant"),
    ...              Node("again", "ask", "assistant"), Node("more", "reply", "user")])
    >>> tree.path("more")
    ('ask', 'reply', 'more')
    >>> tree.siblings("reply")
    ('reply', 'again')
    >>> tree.newest_leaf("ask"), tree.newest_leaf("again")
    ('more', 'again')
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes: dict[str, Node] = {}
        self._children: dict[str | None, list[str]] = defaultdict(list)
        for node in nodes:
            self.add(node)

    def add(self, node: Node) -> None:
        """Put in the newest message."""
        self._nodes[node.id] = node
        self._children[node.parent_id].append(node.id)

    def __contains__(self, message_id: str | None) -> bool:
        return message_id in self._nodes

    def __len__(self) -> int:
        return len(self._nodes)

    def __getitem__(self, message_id: str) -> Node:
        return self._nodes[message_id]

    def path(self, head_id: str | None) -> tuple[str, ...]:
        """Ids from the first message to `head_id`, both included; () for None."""
        backwards = []
        while head_id is not None:
            backwards.append(head_id)
            head_id = self._nodes[head_id].parent_id
        return tuple(reversed(backwards))

    def siblings(self, message_id: str) -> tuple[str, ...]:
        """All versions of a message, itself included, oldest first."""
        return tuple(self._children[self._nodes[message_id].parent_id])

    def newest_leaf(self, message_id: str) -> str:
        """The newest message at or below `message_id`; having no younger child, it is a leaf."""
        below, newest = {message_id}, message_id
        for node in self._nodes.values():
            if node.parent_id in below:
                below.add(node.id)
                newest = node.id
        return newest
