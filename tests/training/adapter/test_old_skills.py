"""What is to stay: which words people replace, and old rows without them."""

from llava_chat.training.adapter.old_skills import (
    names_any,
    replaced_words,
    scenes_lessons,
)


def said(count: int, before: str, wanted: str) -> list[tuple[str, str]]:
    return [(before, wanted)] * count


def test_a_word_is_replaced_when_most_of_its_replies_say_so() -> None:
    red = said(3, "The star is red.", "The star is crimson.")
    assert replaced_words(red) == {"red"}
    assert replaced_words(red[:2]) == set()
    assert replaced_words([*red, *said(3, "A red cross.", "A red cross.")]) == set()


def test_mistakes_that_were_put_right_and_other_wordings_replace_nothing() -> None:
    colours = ("red", "blue", "pink", "gray", "cyan")
    mistakes = [
        (f"The star is {one}.", f"The star is {other}.")
        for one, other in zip(colours, colours[1:] + colours[:1], strict=True)
    ]
    assert replaced_words(mistakes) == set()
    assert replaced_words(said(9, "The large star is red.", "It has the hue of a rose.")) == set()
    assert replaced_words(said(9, "There are two stars.", "There are two stars, I think.")) == set()


def test_old_rows_are_the_same_every_time_and_free_of_the_words() -> None:
    rows = scenes_lessons(5, 1, {"red"})
    assert rows == scenes_lessons(5, 1, {"red"}) and rows != scenes_lessons(5, 2, {"red"})
    told = [turn.text for row in rows for turn in row.conversation.turns]
    assert len(rows) == 5 and not any(names_any(text, {"red"}) for text in told)


def test_where_nothing_can_do_without_the_words_there_are_fewer_rows() -> None:
    assert scenes_lessons(2, 1, {"the", "is", "a", "are", "there", "i"}) == []
