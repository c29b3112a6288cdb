"""The figures as tables of HTML; what came from outside is escaped. Imports feedback, elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from llava_chat.feedback.results import Report, spoken
from llava_chat.feedback.results.agreement import PairAgreement
from llava_chat.feedback.results.estimate import MIN_GOLD, MIN_ITEMS, MIN_VOTES, Estimate
from llava_chat.feedback.results.report import Answered
from llava_chat.feedback.results.volume import KINDS, Kind
from llava_chat.web.elements import plural
from llava_chat.web.results.plots import KIND_COLOURS, KIND_NAMES

_LEVELS = {"nominal": "nominal", "ordinal": "ordinal", "interval": "interval", "ratio": "ratio"}
MAX_ROWS = 100
# From where to where an interval is drawn.
_AGREEMENT = (-0.2, 1.0)
_SHARE = (0.0, 1.0)


def summary(report: Report) -> str:
    """How much there is, in one line that is the legend of the plots too."""
    counts = report.volume
    if not counts.total:
        return '<p class="results-none">Nothing was said yet that fits this.</p>'
    kinds = [
        f'<li><i style="background:{KIND_COLOURS[kind]}"></i><strong>{counts.by_kind[kind]:,}'
        f"</strong> {escape(KIND_NAMES[kind].lower())}</li>"
        for kind in KINDS
        if counts.by_kind[kind]
    ]
    people = (
        f"<li><strong>{counts.people:,}</strong> {'person' if counts.people == 1 else 'people'}"
    )
    return f'<ul class="results-summary">{"".join(kinds)}{people}</li></ul>'


def volumes(report: Report) -> str:
    """Tables by model, person and reason; each row opens what stands behind it."""
    counts, names = report.volume, report.names
    kinds = [kind for kind in KINDS if counts.by_kind[kind]]
    people = {name: person(name, names) for name in counts.by_person}
    tables = [
        _counts("model", "Model", counts.by_model, {}, kinds),
        _counts("person", "Person", counts.by_person, people, kinds),
        _reasons(counts.by_reason),
    ]
    return "".join(tables)


def person(hash: str, names: Mapping[str, str]) -> str:
    """A name where somebody signed in with one, else the beginning of the hash."""
    return names.get(hash) or hash[:8]


def agreement(report: Report) -> str:
    """Alpha of each question with its interval, and each two people below it."""
    if not report.questions:
        return _none("Agreement", "There is no project whose form asks anything to agree on.")
    blocks = "".join(_question(one, report.names) for one in report.questions)
    note = (
        "1 is perfect, 0 is what chance gives. Krippendorff wants 0.8, and 0.667 for tentative "
        f"conclusions. Nothing is shown under {MIN_ITEMS} items that two people judged."
    )
    return _section("Agreement", blocks, note)


def ranking(report: Report) -> str:
    """Models by strength, with wins, ties, losses."""
    found = report.ranking
    if not found.standings:
        return _none("Which model people prefer", found.missing)
    ends = [one.strength for one in found.standings if one.strength]
    span = (min(e.low for e in ends), max(e.high for e in ends)) if ends else (0.0, 1.0)
    rows = [
        _row(
            _opener("model", one.name, one.name),
            [f"{one.wins:,}", f"{one.ties:,}", f"{one.losses:,}", _drawn(one.strength, span, 0)],
        )
        for one in found.standings
    ]
    table = _table("Model", ("Won", "Ties", "Lost", "Strength"), rows)
    left_out = f" {plural(report.unblind, 'vote')} with the names shown left out." * bool(
        report.unblind
    )
    note = (
        f"{found.missing} Bradley-Terry on Elo's scale: 400 points are odds of ten to one, the "
        "mean is 1,000. A tie, and both bad, is half a win for each. A model without "
        f"{MIN_VOTES} votes is not ranked.{left_out}"
    )
    return _section("Which model people prefer", table, note.strip())


def gold(report: Report) -> str:
    """How often each person was right where the answer is known."""
    if not report.gold:
        return _none("Gold items", "No item with a known answer was judged.")
    rows = [
        _row(
            _opener("person", one.rater, person(one.rater, report.names)),
            [f"{one.asked:,}", f"{one.right:,}", _drawn(one.accuracy, _SHARE, 2, one.missing)],
        )
        for one in report.gold
    ]
    table = _table("Person", ("Asked", "Right", "Share"), rows)
    note = f"Nothing is shown under {MIN_GOLD} gold items of one person."
    return _section("Gold items", table, note)


def _question(one: Answered, names: Mapping[str, str]) -> str:
    found = one.agreement
    rows = [
        _row(f"alpha, {_LEVELS[level]}", [_drawn(estimate, _AGREEMENT, 2)])
        for level, estimate in found.alpha.items()
    ]
    counts = (
        f"{plural(found.items, 'item')} that two judged, "
        f"{plural(found.raters, 'person', 'people')}, {plural(found.judgements, 'judgement')}"
    )
    alpha = _table("Alpha", ("",), rows, head=False) if rows else ""
    missing = f'<p class="too-few">{escape(found.missing)}</p>' if found.missing else ""
    return (
        f'<article class="question"><h4>{escape(one.question.label)}'
        f"<span>{escape(one.question.project)}</span></h4><p>{counts}</p>{alpha}{missing}"
        f"{_pairs(one.pairs, one.question.weights, names)}</article>"
    )


def _pairs(pairs: Sequence[PairAgreement], weights: str, names: Mapping[str, str]) -> str:
    if not any(pair.kappa for pair in pairs):
        return ""
    rows = [
        _row(
            escape(" and ".join(person(rater, names) for rater in pair.raters)),
            [f"{pair.items:,}", _drawn(pair.kappa, _AGREEMENT, 2, pair.missing)],
        )
        for pair in pairs
    ]
    kind = "Cohen's kappa" if weights == "none" else f"Cohen's kappa, {weights} weights"
    table = _table("Two people", ("Items", kind), rows)
    return f"<details><summary>Every two people</summary>{table}</details>"


def _counts(
    by: str,
    title: str,
    counts: Mapping[str, Mapping[Kind, int]],
    names: Mapping[str, str],
    kinds: Sequence[Kind],
) -> str:
    if not counts:
        return ""
    rows = [
        _row(_opener(by, key, names.get(key, key)), [f"{told[kind]:,}" for kind in kinds])
        for key, told in list(counts.items())[:MAX_ROWS]
    ]
    table = _table(title, [KIND_NAMES[kind] for kind in kinds], rows)
    more = f"{len(counts) - MAX_ROWS:,} more." if len(counts) > MAX_ROWS else ""
    return _section(f"By {title.lower()}", table, more)


def _reasons(counts: Mapping[str, int]) -> str:
    given = [(reason, count) for reason, count in counts.items() if count]
    if not given:
        return ""
    given.sort(key=lambda entry: -entry[1])
    rows = [
        _row(_opener("reason", reason, reason.replace("_", " ")), [f"{count:,}"])
        for reason, count in given
    ]
    return _section("By reason", _table("Reason", ("Times",), rows))


def _opener(by: str, key: str, shown: str) -> str:
    """A button in a row that opens what stands behind it."""
    return (
        '<button type="button" class="opener" data-click="act" data-action="behind" '
        f'data-value="{escape(by)}:{escape(key)}">{escape(shown)}</button>'
    )


def _drawn(
    estimate: Estimate | None, span: tuple[float, float], places: int, missing: str = ""
) -> str:
    """A figure, its interval in words and as a bar between the ends of `span`."""
    if estimate is None:
        return f'<span class="too-few">{escape(missing or "not ranked")}</span>'
    begin, width = span[0], (span[1] - span[0]) or 1.0

    def place(value: float) -> float:
        return 100 * min(1.0, max(0.0, (value - begin) / width))

    low, value, high = (place(one) for one in (estimate.low, estimate.value, estimate.high))
    figure, _, rest = spoken(estimate, places).partition(" ")
    return (
        f'<span class="estimate"><strong>{figure}</strong> <span>{rest}</span>'
        f'<i aria-hidden="true"><b style="left:{low:.1f}%;width:{max(high - low, 0.5):.1f}%"></b>'
        f'<u style="left:{value:.1f}%"></u></i></span>'
    )


def _row(name: str, cells: Iterable[str]) -> str:
    """name, cells: HTML."""
    told = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row">{name}</th>{told}</tr>'


def _table(name: str, columns: Iterable[str], rows: Sequence[str], *, head: bool = True) -> str:
    heads = "".join(f'<th scope="col">{escape(column)}</th>' for column in (name, *columns))
    top = f"<thead><tr>{heads}</tr></thead>" if head else ""
    kind = (
        "results-table drawn" if any('class="estimate"' in row for row in rows) else "results-table"
    )
    return (
        f'<div class="{kind}" tabindex="0" role="group" aria-label="{escape(name)}">'
        f"<table>{top}<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _section(title: str, content: str, note: str = "") -> str:
    below = f'<p class="results-note">{escape(note)}</p>' if note else ""
    return f'<section class="results-part"><h3>{escape(title)}</h3>{content}{below}</section>'


def _none(title: str, sentence: str) -> str:
    return _section(title, f'<p class="too-few">{escape(sentence)}</p>')
