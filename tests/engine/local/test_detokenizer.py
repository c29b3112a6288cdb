from collections.abc import Iterable

import pytest
from hypothesis import given, settings, strategies as st
from transformers import PreTrainedTokenizerFast

from llava_chat.engine.local.detokenizer import Detokenizer, StopText, decoder, reads_as

TEXTS = [
    "A red circle, two stars.",
    " leading and  double  spaces ",
    "naïve café — ½ of 日本語",
    "flags 🇩🇪 family 👨‍👩‍👧 one\u200b\n\n\ttab",
    "a real \ufffd stays",
    "",
]


@pytest.fixture(params=["llama_like", "byte_level"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    found: PreTrainedTokenizerFast = request.getfixturevalue(request.param)
    return found


def pieces(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> list[str]:
    backend = tokenizer.backend_tokenizer
    detokenizer = Detokenizer(lambda window: str(backend.decode(window, skip_special_tokens=True)))
    return [detokenizer.push(each) for each in ids]


def whole(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
    return str(tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=True))


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_joined_are_the_text(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert "".join(pieces(tokenizer, ids)) == whole(tokenizer, ids)


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=40))
def test_pieces_of_any_text_joined_are_the_text(
    llama_like: PreTrainedTokenizerFast, byte_level: PreTrainedTokenizerFast, text: str
) -> None:
    for tokenizer in (llama_like, byte_level):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert "".join(pieces(tokenizer, ids)) == whole(tokenizer, ids).rstrip("\ufffd")


def test_half_a_character_is_never_shown(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer.encode("é🦩", add_special_tokens=False)
    shown = pieces(tokenizer, ids)
    assert len(ids) > len("é🦩")
    assert "\ufffd" not in "".join(shown)
    assert "".join(pieces(tokenizer, ids[:-1])).strip() == "é"


def test_special_tokens_leave_no_trace(llama_like: PreTrainedTokenizerFast) -> None:
    words = llama_like.encode("the star", add_special_tokens=False)
    picture = llama_like.convert_tokens_to_ids("<image>")
    shown = pieces(llama_like, [1, *words, 1, picture, *words, 2])
    assert "".join(shown) == "the star the star"


def test_bytes_that_are_no_character_do_not_stop_what_follows(
    llama_like: PreTrainedTokenizerFast,
) -> None:
    broken = llama_like.convert_tokens_to_ids(["<0xFF>", "<0xE2>", "<0x82>"])
    words = llama_like.encode("the star", add_special_tokens=False)
    assert "".join(pieces(llama_like, [*words, *broken, *words])).endswith(" the star")


@pytest.mark.parametrize(
    ("typed", "shown", "found"),
    [
        (["No", "###", "more"], "No", True),
        (["a # b", "## c", "##"], "a # b## c", False),
        (["##", "##"], "", True),
        (["#", "##"], "", True),
        (["x#", "#y#", "z"], "x##y#z", False),
    ],
)
def test_stop_text_is_held_back_until_it_is_sure(typed: list[str], shown: str, found: bool) -> None:
    watch = StopText("###")
    text = ""
    for piece in typed:
        text += watch.push(piece)
        if watch.found:
            break
    assert (text, watch.found) == (shown, found)


def test_what_is_held_back_at_the_end_is_given_back() -> None:
    watch = StopText("###")
    assert watch.push("C##") + watch.release() == "C##"
    assert (watch.found, watch.holds) == (False, False)
    watch.push("###")
    assert (watch.found, watch.release()) == (True, "")


@pytest.mark.parametrize("text", TEXTS)
def test_ids_read_as_their_text_and_as_no_other(
    tokenizer: PreTrainedTokenizerFast, text: str
) -> None:
    decode = decoder(tokenizer.backend_tokenizer)
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert reads_as(decode, ids, "".join(pieces(tokenizer, ids)))
    assert not reads_as(decode, ids, f"{text} and more")
    assert not reads_as(decode, [*ids, *tokenizer.encode("more")], text)


@settings(max_examples=150, deadline=None)
@given(bytes_=st.lists(st.integers(0, 255), max_size=12))
def test_any_bytes_read_as_what_was_shown_of_them(
    llama_like: PreTrainedTokenizerFast, bytes_: list[int]
) -> None:
    ids = llama_like.convert_tokens_to_ids([f"<0x{byte:02X}>" for byte in bytes_])
    shown = "".join(pieces(llama_like, ids))
    assert reads_as(decoder(llama_like.backend_tokenizer), ids, shown)


def test_without_a_stop_text_nothing_is_held_back() -> None:
    watch = StopText()
    assert [watch.push("a#"), watch.push("#")] == ["a#", "#"]
    assert (watch.found, watch.holds) == (False, False)


STOPS = st.lists(st.text("ab#é🦩", min_size=1, max_size=4), max_size=4)


def shown_until(watch: StopText, parts: Iterable[str]) -> str:
    """What a reader sees of a reply that comes in these parts."""
    shown = ""
    for part in parts:
        shown += watch.push(part)
        if watch.found:
            return shown
    return shown + watch.release()


def before_first(text: str, stops: Iterable[str]) -> str:
    return text[: min((text.index(stop) for stop in stops if stop in text), default=len(text))]


@settings(max_examples=500, deadline=None)
@given(text=st.text("ab#é🦩", max_size=14), stops=STOPS, data=st.data())
def test_however_a_text_comes_it_is_shown_up_to_its_first_stop(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    parts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    watch = StopText(*stops)
    assert shown_until(watch, parts) == before_first(text, stops)
    assert watch.found == any(stop in text for stop in stops)
    assert not watch.holds


@settings(max_examples=200, deadline=None)
@given(text=st.text("ab#é🦩", max_size=14), stops=STOPS)
def test_no_more_is_held_back_than_what_may_begin_a_stop(text: str, stops: list[str]) -> None:
    watch = StopText(*stops)
    shown = ""
    for place, character in enumerate(text, 1):
        shown += watch.push(character)
        if watch.found:
            break
        held = text[len(shown) : place]
        assert watch.holds == bool(held)
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)


@settings(max_examples=150, deadline=None)
@given(text=st.text("ab #é🦩", max_size=20), stops=STOPS, data=st.data())
def test_a_stop_is_found_across_tokens_and_characters(
    llama_like: PreTrainedTokenizerFast,
    byte_level: PreTrainedTokenizerFast,
    text: str,
    stops: list[str],
    data: st.DataObject,
) -> None:
    for tokenizer in (llama_like, byte_level):
        ids = tokenizer.encode(text, add_special_tokens=False)
        if tokenizer is llama_like:
            # A special token among them has no text, so it neither is a stop nor parts one.
            ids.insert(data.draw(st.integers(0, len(ids))), 1)
        come = pieces(tokenizer, ids)
        assert shown_until(StopText(*stops), come) == before_first("".join(come), stops)


def test_a_special_token_is_no_stop_text(llama_like: PreTrainedTokenizerFast) -> None:
    words = llama_like.encode("the star", add_special_tokens=False)
    watch = StopText("</s>", "<s>")
    shown = shown_until(watch, pieces(llama_like, [*words, 1, *words]))
    assert (shown, watch.found) == ("the star the star", False)


def test_a_stop_within_the_beginning_of_another_waits_for_it() -> None:
    watch = StopText("abc", "b")
    assert [watch.push("xab"), watch.found, watch.push("c"), watch.found] == ["x", False, "", True]
    watch = StopText("abc", "b")
    assert [watch.push("xab"), watch.push("d"), watch.found] == ["x", "a", True]
    watch = StopText("abc", "b")
    assert [watch.push("xab"), watch.release(), watch.found] == ["x", "a", True]
