"""`evaluate llava-bench`: answers to open questions, judged beside GPT-4's."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from llava_chat.commands.checks import check_above_0, make_folder
from llava_chat.commands.evaluate import answering, options
from llava_chat.errors import BenchmarkError, UsageError
from llava_chat.evaluation.answers import read_answers, tell_missing
from llava_chat.evaluation.llava_bench import report
from llava_chat.evaluation.llava_bench.comparing import (
    RULES,
    Rules,
    check_judgeable,
    comparisons,
    read_rules,
)
from llava_chat.evaluation.llava_bench.files import (
    BenchQuestion,
    Contexts,
    read_contexts,
    read_questions,
)
from llava_chat.evaluation.llava_bench.reviews import Reviews, read_reviews
from llava_chat.evaluation.llava_bench.scores import ALL, relative_scores
from llava_chat.evaluation.looking import write_page

TITLE = "evaluate llava-bench"
REVIEWS = "reviews.jsonl"
NOT_JUDGED = "they are not judged"
MAX_NEW_TOKENS = 1024
"""As LLaVA's own evaluation has it (haotian-liu/LLaVA, llava/eval/model_vqa.py)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the questions and what belongs to them, the judge, or reviews that exist."""
    options.add_model(parser)
    asked = parser.add_argument_group("the questions, as the authors' files have them")
    asked.add_argument("--questions", type=Path, metavar="FILE")
    asked.add_argument(
        "--context", type=Path, metavar="FILE", help="what is in the pictures, for the judge"
    )
    asked.add_argument(
        "--reference", type=Path, metavar="FILE", help="GPT-4's answers, which are compared with"
    )
    asked.add_argument("--images", type=Path, metavar="DIR", help="the folder of the pictures")
    judge = parser.add_argument_group("the judge")
    judge.add_argument(
        "--judge-url",
        metavar="URL",
        help="an OpenAI-compatible server, like https://api.openai.com/v1; its key goes into "
        "LLAVA_CHAT_ENGINE_KEY",
    )
    judge.add_argument("--judge-model", metavar="NAME", help="as that server names it")
    judge.add_argument(
        "--judge-at-once", type=int, default=4, metavar="N", help="asked at a time (default: 4)"
    )
    judge.add_argument(
        "--judge-tries",
        type=int,
        default=3,
        metavar="N",
        help="how often a reply is asked for until it holds scores (default: 3)",
    )
    judge.add_argument(
        "--judge-temperature", type=float, default=0.2, metavar="X", help="(default: 0.2)"
    )
    judge.add_argument(
        "--rules", type=Path, default=RULES, metavar="DIR", help="texts for the judge, to be edited"
    )
    parser.add_argument(
        "--reviews",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="score these reviews, such as the authors', and ask nobody",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the intervals")
    options.add_answers(parser)


def run(args: argparse.Namespace) -> int:
    """Score reviews that exist; or answer, have it judged, and score that."""
    if args.reviews is not None:
        return _score_files(args)
    _check(args)
    questions = options.limited(args, read_questions(args.questions))
    rules = read_rules(args.rules)
    contexts = read_contexts(args.context)
    check_judgeable(questions, contexts, rules)
    reference = _reference(args, questions)
    candidate, found = _judged(args, questions, contexts, reference, rules)
    scores = relative_scores(found.reviews, seed=args.seed)
    options.show(args, report.table(scores, found), report.results(scores, found))
    write_page(
        args.output / options.WRONG,
        "LLaVA-Bench",
        list(report.cards(questions, found.reviews, reference, candidate, args.images)),
        facts=[("relative score", f"{scores[ALL].score:.1f}"), ("judge", args.judge_model)],
    )
    return 0


def _check(args: argparse.Namespace) -> None:
    for name in ("questions", "context", "reference", "judge_url", "judge_model"):
        if getattr(args, name) is None:
            raise UsageError(
                f"--{name.replace('_', '-')} is needed to have answers judged; or --reviews FILE, "
                "to score reviews that exist"
            )
    if args.output is None:
        raise UsageError("--output DIR is needed, where the judge's reviews are kept")
    check_above_0(args, "judge_at_once", "judge_tries")
    if not 0 <= args.judge_temperature <= 2:
        raise UsageError("--judge-temperature must be between 0 and 2")
    answering.check(args, "questions", "context", "reference")


def _reference(args: argparse.Namespace, questions: Sequence[BenchQuestion]) -> dict[str, str]:
    answers = read_answers(args.reference)
    tell_missing(answers, [q.id for q in questions], args.reference, counted=NOT_JUDGED)
    return {id_: answer.text for id_, answer in answers.items()}


def _judged(
    args: argparse.Namespace,
    questions: Sequence[BenchQuestion],
    contexts: Contexts,
    reference: Mapping[str, str],
    rules: Rules,
) -> tuple[dict[str, str], Reviews]:
    """What the candidate said, and what the judge says of it."""
    # Only here: the client of the judge's server may be missing where a model runs.
    from llava_chat.evaluation.judging import judge_all, open_judge

    # Before the model is asked, which takes long: a wrong address is told at once.
    judge = open_judge(
        args.judge_url,
        args.judge_model,
        tries=args.judge_tries,
        temperature=args.judge_temperature,
    )
    with judge.completions:
        asked = [(question.id, question.text, question.image) for question in questions]
        answers = answering.answers_to(args, TITLE, asked, MAX_NEW_TOKENS, NOT_JUDGED)
        candidate = {id_: answer.text for id_, answer in answers.items()}
        pairs = list(comparisons(questions, contexts, reference, candidate, rules))
        if not pairs:
            raise BenchmarkError(
                f"{args.reference}: not one question that it answers is answered by the candidate "
                "as well; there is nothing to judge"
            )
        file = args.output / REVIEWS
        judge_all(judge, pairs, file, at_once=args.judge_at_once, title=TITLE)
    return candidate, read_reviews(file)


def _score_files(args: argparse.Namespace) -> int:
    answering.check_files(args, "reviews")
    if args.output is not None:
        make_folder("--output", args.output)
    files = [read_reviews(file) for file in args.reviews]
    scored = [relative_scores(found.reviews, seed=args.seed) for found in files]
    tables = [report.table(scores, found) for scores, found in zip(scored, files, strict=True)]
    named = [f"{file}\n\n{text}" for file, text in zip(args.reviews, tables, strict=True)]
    results = [report.results(scores, found) for scores, found in zip(scored, files, strict=True)]
    if len(files) == 1:
        options.show(args, tables[0], results[0])
    else:
        by_file = dict(zip(map(str, args.reviews), results, strict=True))
        options.show(
            args,
            "\n\n".join([*named, report.spread(scored)]),
            {"files": by_file, "spread": report.spread_figures(scored)},
        )
    return 0
