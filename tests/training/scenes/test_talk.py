"""What is asked and answered about thousands of scenes, held against the scenes themselves."""

import random
import re
from collections import defaultdict
from dataclasses import astuple, replace
from itertools import pairwise

import pytest

from llava_chat.evaluation.meaning import means
from llava_chat.training.scenes import phrases as say
from llava_chat.training.scenes.exchange import Exchange, Meaning, Memory
from llava_chat.training.scenes.naming import references
from llava_chat.training.scenes.questions import ask
from llava_chat.training.scenes.relations import bigger, relation
from llava_chat.training.scenes.talk import (
    blind_talk,
    non_scene_talk,
    outside_question,
    scene_talk,
)
from llava_chat.training.scenes.wording import (
    brief_description,
    full_description,
    listed,
    plural,
)
from llava_chat.training.scenes.world import (
    COLOURS,
    SHAPES,
    SIZES,
    Scene,
    SceneObject,
    random_scene,
)

SCENES = [random_scene(random.Random(seed)) for seed in range(250)]
TALKS = [scene_talk(scene, random.Random(number), 12) for number, scene in enumerate(SCENES)]
BLIND = [exchange for seed in range(60) for exchange in blind_talk(random.Random(seed), 4)]
NO_SCENE = [exchange for seed in range(60) for exchange in non_scene_talk(random.Random(seed), 4)]
EXCHANGES = [exchange for talk in TALKS for exchange in talk]

RED_DOT = SceneObject("circle", "red", "small", 20, 20, 12, 12)
BLUE_STAR = SceneObject("star", "blue", "large", 70, 75, 36, 36)
PAIR = Scene(100, 100, (RED_DOT, BLUE_STAR))


def test_the_same_seed_gives_the_same_talk() -> None:
    assert scene_talk(SCENES[0], random.Random(0), 12) == TALKS[0]


def test_every_kind_of_question_occurs() -> None:
    kinds = "colour shape size where count existence relation compare list describe"
    further = {"back-reference", "false premise", "small talk", "outside"}
    assert {exchange.kind for exchange in EXCHANGES} == set(kinds.split()) | further
    assert {exchange.kind for exchange in BLIND} == {"no picture", "small talk", "outside"}
    assert {exchange.kind for exchange in NO_SCENE} == {"non-scene", "small talk", "outside"}


def test_every_answer_means_what_it_should() -> None:
    wrong = [e for e in [*EXCHANGES, *BLIND, *NO_SCENE] if not means(e.answer, e.meaning)]
    assert wrong == []


def comparable(meaning: Meaning) -> Meaning:
    """Equal for two meanings that differ in the order of their words or objects alone."""
    words = meaning.words and (meaning.words[0], tuple(sorted(meaning.words[1])))
    objects = meaning.objects and tuple(sorted(meaning.objects))
    topic = meaning.topic and " ".join(sorted(meaning.topic.split()))
    says = tuple(sorted(meaning.says))
    return Meaning(words, objects, meaning.yes, meaning.count, meaning.denied, topic, says)


def test_an_answer_to_something_else_is_judged_wrong() -> None:
    alike = defaultdict(list)
    for exchange in EXCHANGES:
        asked = tuple(part is None or part is False for part in astuple(exchange.meaning))
        # "Compare the colours" wants no yes or no, and takes one where the colours are right.
        alike[exchange.kind, exchange.meaning.yes is None, asked].append(exchange)
    rng, compared = random.Random(0), 0
    for group in alike.values():
        for exchange in group:
            other = rng.choice(group)
            if comparable(other.meaning) != comparable(exchange.meaning):
                compared += 1
                assert not means(other.answer, exchange.meaning), (exchange, other.answer)
    assert compared > 1200


@pytest.mark.parametrize("change", ["colour", "shape", "size", "x"])
def test_a_description_with_one_word_wrong_is_judged_wrong(change: str) -> None:
    others = {"colour": "green", "shape": "heart", "size": "medium", "x": 90.0}
    wrong = SceneObject(**{**RED_DOT.__dict__, change: others[change]})
    objects = tuple((o.size, o.colour, o.shape, PAIR.place(o)) for o in PAIR.objects)
    described = full_description(Scene(100, 100, (wrong, BLUE_STAR)))
    assert means(full_description(PAIR), Meaning(objects=objects))
    assert not means(described, Meaning(objects=objects))


def looked_up(name: str, scene: Scene) -> list[SceneObject]:
    """The objects that a name such as "the small red object at the top" may mean."""
    words, _, place = re.sub(" (?:at|on|in) the ", "@", name.removeprefix("the ")).partition("@")
    wanted, where = set(words.split()) - {"object"}, set(place.split())
    assert wanted <= {*COLOURS, *SHAPES, *SIZES}
    return [
        item
        for item in scene.objects
        if wanted <= {item.colour, item.shape, item.size}
        and where <= set(scene.place(item).split()[2:])
    ]


@pytest.mark.parametrize("hide", ["", "colour", "shape", "size", "where"])
def test_a_name_fits_one_object_and_hides_what_is_asked_for(hide: str) -> None:
    names = 0
    for scene in SCENES:
        for item in scene.objects:
            for name in references(scene, item, hide):
                names += 1
                assert looked_up(name, scene) == [item]
                if hide == "where":
                    assert name.count("the ") == 1
                elif hide:
                    assert getattr(item, hide) not in name.split()
    assert names > 1000


def test_places_are_named_as_people_see_them() -> None:
    assert "the object on the left" in references(PAIR, RED_DOT)
    below = SceneObject("heart", "pink", "small", 20, 80, 12, 12)
    crowded = Scene(100, 100, (RED_DOT, below, BLUE_STAR))
    assert "the object on the left" not in references(crowded, RED_DOT)
    assert "the object at the top" in references(crowded, RED_DOT)


def test_a_false_premise_names_nothing_that_is_there() -> None:
    checked = 0
    for scene, talk in zip(SCENES, TALKS, strict=True):
        for exchange in talk:
            if exchange.kind == "false premise":
                noun = exchange.answer.removeprefix("There is no ").removesuffix(" in the picture.")
                assert looked_up(f"the {noun}", scene) == []
                checked += 1
    assert checked > 60


def test_counts_and_existence_agree_with_the_scene() -> None:
    singular = {plural(shape): shape for shape in (*SHAPES, "object")}
    checked = 0
    for scene, talk in zip(SCENES, TALKS, strict=True):
        for exchange in talk:
            said = re.fullmatch(r"[\w, ]*[Tt]here (?:is|are) (\w+) ([\w ]+)\.", exchange.answer)
            if exchange.kind in ("count", "existence") and said:
                number, what = said.groups()
                words = " ".join(singular.get(word, word) for word in what.split())
                expected = {"no": 0, "a": 1, "an": 1}.get(number)
                count = say.NUMBERS.index(number) if expected is None else expected
                assert len(looked_up(f"the {words}", scene)) == count, exchange
                checked += 1
    assert checked > 400


def back_references(item: SceneObject, scene: Scene) -> list[Exchange]:
    rng = random.Random(0)
    made = [ask(scene, rng, Memory(item=item)) for _ in range(400)]
    return [exchange for exchange in made if exchange.kind == "back-reference"]


@pytest.mark.parametrize("item", PAIR.objects, ids=lambda item: item.shape)
def test_it_is_the_object_that_was_spoken_about(item: SceneObject) -> None:
    asked = back_references(item, PAIR)
    wanted = {
        "colour": item.colour,
        "shape": item.shape,
        "size": item.size,
        "place": PAIR.place(item),
    }
    seen = {m.words for m in (e.meaning for e in asked) if m.words}
    assert seen == {(name, (word,)) for name, word in wanted.items()}
    other = BLUE_STAR if item is RED_DOT else RED_DOT
    named = {e.meaning.objects for e in asked if e.meaning.objects is not None}
    assert named == {(), ((other.colour, other.shape),)}


def test_nothing_is_it_before_something_was_spoken_about() -> None:
    rng = random.Random(0)
    assert all(ask(PAIR, rng, Memory()).kind != "back-reference" for _ in range(300))


def test_the_only_object_is_it_from_the_beginning() -> None:
    alone = Scene(100, 100, (RED_DOT,))
    first = [scene_talk(alone, random.Random(seed), 1)[0] for seed in range(60)]
    assert "back-reference" in {exchange.kind for exchange in first}


def test_after_several_or_none_there_is_no_it() -> None:
    for seed in range(1500):
        rng = random.Random(seed)
        scene, memory = rng.choice(SCENES), Memory(item=RED_DOT)
        exchange = ask(scene, rng, memory)
        if exchange.meaning.count is not None:
            assert (memory.item is not None) == (exchange.meaning.count == 1)
        if exchange.kind == "false premise" or exchange.meaning.yes is False:
            assert memory.item is None or exchange.kind == "relation"


def test_what_was_asked_last_is_recalled() -> None:
    memory = Memory(item=RED_DOT)
    memory.topic = "the colour of the blue star"
    made = [ask(PAIR, random.Random(seed), Memory(RED_DOT, memory.topic)) for seed in range(300)]
    recalled = [exchange for exchange in made if exchange.meaning.topic]
    assert {e.answer for e in recalled} == {"You asked about the colour of the blue star."}


def test_the_last_question_is_never_recalled_without_a_scene() -> None:
    recalls = {re.sub(r"\W", "", question).lower() for question in say.RECALL_QUESTIONS}
    for exchange in [*BLIND, *NO_SCENE]:
        assert re.sub(r"\W|^Please", "", exchange.question).lower() not in recalls


def test_no_question_is_asked_twice_in_a_row() -> None:
    for talk in TALKS:
        for earlier, later in pairwise(talk):
            assert earlier.question != later.question or earlier.kind in ("small talk", "outside")


def test_synonyms_are_spelled_rightly() -> None:
    text = " ".join(exchange.question for exchange in EXCHANGES).lower()
    spoken = set(re.findall(r"[a-z]+", text))
    assert {"ellipse", "ellipses", "rhombus", "rhombuses", "signs", "violet", "larger"} <= spoken
    assert spoken.isdisjoint({"rhombuss", "signes", "ovales", "bigr", "crosss"})
    assert "{" not in text


def test_every_phrasing_can_be_filled_in() -> None:
    rng = random.Random(0)
    questions = {outside_question(rng) for _ in range(500)}
    assert len(questions) > 150
    assert not any("{" in question for question in questions)


def test_descriptions() -> None:
    assert brief_description(PAIR) == "There are two objects: a red circle and a blue star."
    assert full_description(PAIR) == (
        "There are two objects, from left to right: a small red circle at the top left and "
        "a large blue star at the bottom right."
    )
    assert full_description(Scene(9, 9, ())) == brief_description(Scene(9, 9, ()))


def test_words() -> None:
    assert [plural(shape) for shape in ("cross", "star")] == ["crosses", "stars"]
    assert listed(["a"]) == "a"


def test_directions_are_told_only_where_people_agree() -> None:
    close = Scene(
        100,
        100,
        (
            SceneObject("circle", "red", "small", 20, 50, 15, 15),
            SceneObject("star", "blue", "small", 45, 45.5, 15, 15),
            SceneObject("heart", "green", "small", 80, 80, 15, 15),
        ),
    )
    asked = [
        (e.question, e.answer)
        for seed in range(300)
        if (e := relation(close, random.Random(seed), Memory())) is not None
    ]
    assert any("right of" in answer for _, answer in asked)
    # The star is 0.045 above the circle: nobody is asked what is above or below either of them.
    assert not [a for _, a in asked if re.search(r"(above|below) the [^.]*(circle|star)", a)]


def test_one_size_is_the_same_size_only_for_boxes_alike() -> None:
    wide = SceneObject("circle", "red", "large", 30, 50, 40, 40)
    narrow = SceneObject("oval", "blue", "large", 80, 50, 20, 40)
    alike = replace(narrow, shape="square", width=38, height=38)
    made = [
        {
            bool(bigger(Scene(100, 100, (wide, other)), random.Random(seed), Memory()))
            for seed in range(40)
        }
        for other in (narrow, alike)
    ]
    assert made == [{False}, {True}]
