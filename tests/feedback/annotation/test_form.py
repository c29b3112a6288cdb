"""Forms and what is entered in them: what is refused, and by which name."""

from __future__ import annotations

from typing import Any

import pytest

from llava_chat.errors import FeedbackError
from llava_chat.feedback.annotation.content import Content, ShownReply, ShownTurn
from llava_chat.feedback.annotation.form import TYPES, checked_form
from llava_chat.feedback.annotation.values import checked_draft, checked_seconds, checked_values

FORM: list[dict[str, Any]] = [
    {"name": "good", "type": "scale", "label": "Good?", "min": 1, "max": 5, "required": True},
    {"name": "kinds", "type": "chips", "label": "Kinds", "options": ["a", "b", "c"], "max": 2},
    {"name": "sure", "type": "choice", "label": "Sure?", "options": [{"value": "y"}, "n"]},
    {"name": "why", "type": "text", "label": "Why?", "max_chars": 10},
    {"name": "better", "type": "correction", "label": "Better"},
    {"name": "marks", "type": "spans", "label": "Marks", "labels": ["wrong"]},
    {"name": "places", "type": "boxes", "label": "Places", "labels": ["star"]},
    {"name": "order", "type": "best_of", "label": "Order"},
]
CONTENT = Content(
    (ShownTurn("user", "What is it?", (0,)),), (ShownReply("Red 😀"), ShownReply("Blue")), 1
)


def values(**more: Any) -> dict[str, Any]:
    return checked_values(checked_form(FORM), CONTENT, {"good": 4, **more})


def test_every_type_of_field_is_taken() -> None:
    assert {field["type"] for field in FORM} == set(TYPES)
    entered = {
        "good": 4,
        "kinds": ["b", "a"],
        "sure": "y",
        "why": "a\x00\ud800",
        "better": "A red star",
        "marks": [{"start": 4, "end": 5, "label": "wrong"}],
        "places": [{"picture": 0, "label": "star", "box": [0, 0.25, 0.5, 1]}],
        "order": [1, 0],
    }
    found = values(**entered)
    assert found == {**entered, "kinds": ["a", "b"], "why": "a\ufffd\ufffd"}
    assert values(kinds=[], why="  ", order=None) == {"good": 4}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("good", value) for value in (0, 6, "4", 4.0, True, [4])),
        *(("kinds", value) for value in ("a", ["d"], ["a", "b", "c"], [1], {"a": 1})),
        *(("sure", value) for value in ("x", ["y"], 1)),
        *(("why", value) for value in ("x" * 11, 5)),
        ("better", "x" * 20_001),
        *(
            ("marks", [{"start": start, "end": end, "label": label}])
            for start, end, label in ((0, 6, "wrong"), (2, 2, "wrong"), (-1, 2, "wrong"),
                                      (0, 2, "right"), (0.0, 2, "wrong"), (0, 2, ["wrong"]))
        ),
        ("marks", [{"start": 0, "end": 1, "label": "wrong", "more": 1}]),
        ("marks", [{"start": 0, "end": 1, "label": "wrong"}] * 201),
        *(
            ("places", [{"picture": picture, "label": "star", "box": box}])
            for picture, box in ((1, [0, 0, 1, 1]), (0, [0, 0, 1]), (0, [0, 0, 0, 1]),
                                 (0, [0, 0, 1.1, 1]), (0, [0, 0, float("nan"), 1]),
                                 (0, ["0", 0, 1, 1]), (True, [0, 0, 1, 1]))
        ),
        *(("order", value) for value in ([0], [0, 0], [0, 1, 2], ["0", "1"], [0, True], 1)),
        ("more", 1),
    ],
)  # fmt: skip
def test_what_is_no_value_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(FeedbackError, match=f"^values, {name}: "):
        values(**{name: value})


def test_what_is_asked_for_has_to_be_filled_in() -> None:
    with pytest.raises(FeedbackError, match=r"^values, good: it is asked for"):
        checked_values(checked_form(FORM), CONTENT, {"why": "x"})
    with pytest.raises(FeedbackError, match=r"^values: "):
        checked_values(checked_form(FORM), CONTENT, [4])


def test_a_draft_need_not_make_sense_yet() -> None:
    form = checked_form(FORM)
    draft = {"good": 9, "marks": [{"start": 1}], "why": "\ud800"}
    assert checked_draft(form, draft) == {**draft, "why": "\ufffd"}
    deep: Any = []
    for _ in range(10):
        deep = [deep]
    for wrong in (None, {"more": 1}, {"why": "x" * 100_001}, {"why": float("inf")}, {"why": deep}):
        with pytest.raises(FeedbackError, match=r"^values"):
            checked_draft(form, wrong)


@pytest.mark.parametrize("seconds", [None, "1", -1, float("nan"), float("inf"), True])
def test_a_lead_time_is_a_number_of_seconds(seconds: Any) -> None:
    with pytest.raises(FeedbackError, match=r"^lead_time_s: "):
        checked_seconds(seconds)


def _with(place: int, **more: Any) -> list[dict[str, Any]]:
    return [*FORM[:place], {**FORM[place], **more}, *FORM[place + 1 :]]


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (None, "form: "),
        ([], "form: "),
        (FORM * 6, "form: "),
        ([1], "form, field 0: "),
        (_with(0, name="Good"), "form, field 0, name: "),
        (_with(0, name="why"), "form, field 'why': the name"),
        (_with(0, type="stars"), "form, field 'good', type: "),
        (_with(0, label=" "), "form, field 'good', label: "),
        (_with(0, label="x" * 201), "form, field 'good', label: "),
        (_with(0, required="yes"), "form, field 'good', required: "),
        (_with(0, max=1), "form, field 'good', max: "),
        (_with(0, max=12), "form, field 'good', max: "),
        (_with(0, min=True), "form, field 'good', min: "),
        (_with(0, labels={"6": "x"}), "form, field 'good', labels: "),
        (_with(0, use="training"), "form, field 'good', use: "),
        (_with(0, use="rating", good=[9]), "form, field 'good', good: "),
        (_with(0, more=1), "form, field 'good', more: "),
        (_with(0, reply=32), "form, field 'good', reply: "),
        (_with(1, options=[]), "form, field 'kinds', options: "),
        (_with(1, options=["a", "a"]), "form, field 'kinds', options: "),
        (_with(1, options=[{"label": "a"}]), "form, field 'kinds', options: "),
        (_with(1, options=["\ud800"]), "form, field 'kinds', options: "),
        (_with(1, max=4), "form, field 'kinds', max: "),
        (_with(2, use="rating"), "form, field 'sure', good: "),
        (_with(3, max_chars=0), "form, field 'why', max_chars: "),
        (_with(5, labels=[]), "form, field 'marks', labels: "),
        (_with(6, labels=["x", "x"]), "form, field 'places', labels: "),
    ],
)
def test_what_is_no_form_is_refused_by_its_field(form: Any, told: str) -> None:
    with pytest.raises(FeedbackError) as error:
        checked_form(form)
    assert str(error.value).startswith(told)
