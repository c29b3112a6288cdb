"""A store in which a small team said much: chats rated, models compared, a project annotated."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from PIL import Image

from llava_chat.feedback import Comparisons, Correction, Feedback, Rating, Vote
from llava_chat.feedback.annotation import Annotation, Leading
from llava_chat.image import Picture, PictureLimits, picture_from_image
from llava_chat.store import ConversationStore, Member, Project, ReplyRecord

PEOPLE = ("ann", "bob", "cat")
SKILLS = {"scenes": 0.0, "scenes-large": 1.2, "other": -1.2}
"""Of the models that are compared, as the logarithms of Bradley-Terry strengths."""
LEAD = Member("lea", "Lea", "lead")
FORM = [
    {"name": "grounded", "type": "scale", "label": "Is it grounded?", "min": 1, "max": 5},
    {"name": "verdict", "type": "choice", "label": "Verdict", "options": ["right", "wrong"]},
    {"name": "faults", "type": "chips", "label": "Faults", "options": ["count", "colour"]},
    {"name": "why", "type": "text", "label": "Why?"},
]
ITEMS, GOLD = 24, 12


def fill(folder: Path, name: str = "chat.db") -> None:
    """Make a database in the folder, with everything below in it."""
    store = ConversationStore.open(f"sqlite:///{folder / name}", folder)
    picture = picture_from_image(Image.new("RGB", (60, 40), "red"))
    record = ReplyRecord(
        model_id="scenes",
        revision="abc123",
        template="vicuna_v1",
        system=None,
        settings={},
        prompt_tokens=9,
        generated_tokens=2,
        first_token_s=0.2,
        total_s=0.5,
        app_version="0.1.0",
        picture_ids=(picture.id,),
    )
    rate_chats(store, record, picture)
    compare(store, record, picture)
    annotate(store, picture)
    store.close()


def agree(store: ConversationStore, *people: str) -> Feedback:
    feedback = Feedback.of(store)
    for person in people:
        feedback.decide(person, True)
    return feedback


def rate_chats(
    store: ConversationStore, record: ReplyRecord, picture: Picture, count: int = 12
) -> list[str]:
    """Chats of PEOPLE in turn; every third is not liked, with reasons, and corrected."""
    feedback = agree(store, *PEOPLE)
    ids = []
    for n in range(count):
        owner = PEOPLE[n % len(PEOPLE)]
        asked = store.add_user(owner, None, f"What is in picture {n}?", [picture])
        id = asked.conversation_id
        reply = store.add_reply(owner, id, asked.id, f"A circle, {n}.", (n,), "stop", record)
        liked = n % 3 > 0
        reasons = () if liked else ("wrong_count",) if n % 2 else ("hallucinated_object", "style")
        feedback.rate(
            owner, id, reply.id, Rating(uuid4().hex, liked, reasons, "" if liked else "x")
        )
        if not liked:
            feedback.correct(owner, id, reply.id, Correction(uuid4().hex, f"A square, {n}."))
        ids.append(id)
    return ids


def compare(
    store: ConversationStore, record: ReplyRecord, picture: Picture, count: int = 90
) -> list[str]:
    """Comparisons of every two models, voted on as their skills say. Their ids."""
    agree(store, *PEOPLE)
    chance, comparisons, sides = random.Random(7), Comparisons.of(store), store.sides()
    ids = []
    for n in range(count):
        owner = PEOPLE[n % len(PEOPLE)]
        left, right = chance.sample(sorted(SKILLS), 2)
        kept = comparisons.begin(owner, left, right)
        for name, id in ((left, kept.left_id), (right, kept.right_id)):
            asked = sides.add_user(owner, id, "Which shape?", [picture])
            own = replace(record, model_id=name, adapter=None, settings={}, system=None)
            sides.add_reply(owner, id, asked.id, f"{name} says so", (1,), "stop", own)
        odds = 2.718281828 ** (SKILLS[left] - SKILLS[right])
        choice = "left" if chance.random() < odds / (1 + odds) else "right"
        choice = {0: "tie", 1: "both_bad"}.get(n % 10, choice)
        comparisons.vote(owner, kept.id, Vote(uuid4().hex, 1, choice, 2.0))
        ids.append(kept.id)
    return ids


def annotate(
    store: ConversationStore,
    picture: Picture,
    *,
    people: tuple[str, ...] = PEOPLE,
    items: int = ITEMS,
    name: str = "Circles",
    values: Callable[[int, str, random.Random], dict[str, Any]] | None = None,
) -> Project:
    """A project that everybody of `people` went through; the first GOLD items are gold.

    values: what somebody says of the item with that number; by default most are right, cat least.
    """
    agree(store, *people)
    chance, leading, annotation = random.Random(3), Leading.of(store), Annotation.of(store)
    document = {"name": name, "form": FORM, "overlap": len(people)}
    project = leading.create(LEAD, document)
    rows = [
        {"question": f"Item {n}?", "picture": "a.png", "reply": {"text": "Yes.", "model": "scenes"}}
        | ({"gold": {"verdict": _truth(n)}} if n < GOLD else {})
        for n in range(items)
    ]
    text = "\n".join(map(json.dumps, rows))
    leading.add(LEAD, project.id, "jsonl", text, lambda _: _png(picture), PictureLimits())
    for person in people:
        member = Member(person, person.capitalize())
        while (given := annotation.next(member, project.id)[0]) is not None:
            item = given.item.item
            said = (values or _said)(item.position, person, chance)
            annotation.submit(member, item.id, uuid4().hex, said, 4.0)
    return project


def _truth(number: int) -> str:
    return "right" if number % 3 else "wrong"


def _said(number: int, person: str, chance: random.Random) -> dict[str, Any]:
    slips = chance.random() < (0.35 if person == "cat" else 0.05)
    right = (_truth(number) == "right") != slips
    grounded = (4 if right else 2) + chance.choice((-1, 0, 0, 1))
    faults = [] if right else ["count"] if number % 2 else ["colour"]
    return {"grounded": grounded, "verdict": "right" if right else "wrong", "faults": faults}


def _png(picture: Picture) -> bytes:
    file = io.BytesIO()
    picture.rgb().save(file, "PNG")
    return file.getvalue()
