"""What people said of replies: as files for training or for tables, back again, and counted.

Of people who agreed to it, and of chats that are kept. People appear as hashes, another one in
every export.
"""

from __future__ import annotations

import argparse
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llava_chat.commands import projects
from llava_chat.errors import UsageError
from llava_chat.feedback import REASONS, Filter, figures
from llava_chat.feedback.annotation import Agreed, Since, export_project
from llava_chat.feedback.comparisons import comparison_rows
from llava_chat.feedback.export import FORMATS, export_feedback, import_feedback
from llava_chat.feedback.results import Wanted, agreed_items, gather, report
from llava_chat.feedback.rows import feedback_rows
from llava_chat.settings import Settings, add_arguments as add_settings, load_settings
from llava_chat.store import ConversationStore, Project

STORE_FIELDS = ("data_dir", "database_url")
ANSWERS = {"yes": True, "no": False}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions, each with its own options."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    export = actions.add_parser("export", help="into a new folder")
    export.add_argument(
        "--format",
        required=True,
        choices=FORMATS,
        help="llava: instruction JSON that `train finetune` reads. dpo, kto: rows for TRL. jsonl: "
        "everything, for `feedback import`. csv, parquet: tables",
    )
    export.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="a folder that is not there yet"
    )
    export.add_argument("--dry-run", action="store_true", help="count, and write nothing")
    export.add_argument(
        "--project", metavar="NAME", help="of what annotators said in this project, by name or id"
    )
    export.add_argument(
        "--min-agreement",
        type=float,
        metavar="SHARE",
        help="with --project: only items of which so large a share of every two people who judged "
        "them say the same, like 0.67",
    )
    _add_filters(export)
    taken = actions.add_parser("import", help="an export with --format jsonl")
    taken.add_argument("folder", type=Path, metavar="DIR")
    stats = actions.add_parser(
        "stats", help="how much there is, how far people agree, which model they prefer"
    )
    stats.add_argument("--project", metavar="NAME", help="only this project, by name or id")
    _add_filters(stats)
    project = actions.add_parser(
        "project",
        help="items that people judge with a form",
        description=projects.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for action in (export, taken, stats, *projects.add_arguments(project)):
        action.add_argument("--json", action="store_true", help="figures for a program")
        add_settings(action, STORE_FIELDS, "where it is kept")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("only what")
    for name, what in (("since", "from this time on"), ("until", "before this time")):
        group.add_argument(
            f"--{name}", metavar="TIME", help=f"was said {what}, like 2026-01-31 (UTC)"
        )
    group.add_argument("--liked", choices=tuple(ANSWERS), help="is about a reply rated so")
    group.add_argument("--reason", choices=tuple(REASONS), help="has this reason")
    group.add_argument("--model", metavar="ID", help="is about a reply of this model")
    group.add_argument("--adapter", metavar="ID", help="with this adapter")


def run(args: argparse.Namespace) -> int:
    """Export, import or count."""
    return _ACTIONS[args.action](args)


def _export(args: argparse.Namespace) -> int:
    wanted = filter_of(args)
    if args.min_agreement is not None and args.project is None:
        raise UsageError("--min-agreement needs --project: elsewhere one person judges each reply")
    with opened_store(store_settings(args)) as store:
        manifest = export_of(
            store, args.format, args.output, wanted, args.project, args.min_agreement, args.dry_run
        )
    if args.json:
        print(json.dumps(manifest, ensure_ascii=False))
        return 0
    counts = manifest["counts"]
    place = f"{args.output}: " if not args.dry_run else "it would be "
    of = f"{counts['replies']} replies" if args.project is None else f"{counts['items']} items"
    print(
        f"{place}{counts['records']} {args.format} records of {of} and "
        f"{counts['people']} people, {counts['pictures']} pictures"
    )
    for reason, number in manifest["left_out"].items():
        print(f"left out: {number} ({reason})")
    return 0


def export_of(
    store: ConversationStore,
    form: str,
    output: Path,
    wanted: Filter,
    project_name: str | None = None,
    min_agreement: float | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Export what people said on the page, or in a project, and return the manifest.

    Raises as `export_feedback`; UsageError for a project that there is not or a filter that it does
    not have.
    """
    if project_name is None:
        return export_feedback(store, form, output, wanted, dry_run=dry_run)
    when, project = _of_project(wanted), projects.named(store, project_name)
    agreed = _agreed(store, project, min_agreement, when)
    return export_project(store, project, form, output, when, agreed=agreed, dry_run=dry_run)


def _agreed(
    store: ConversationStore, project: Project, least: float | None, when: Since
) -> Agreed | None:
    if least is None:
        return None
    if not 0 <= least <= 1:
        raise UsageError(f"--min-agreement must be from 0 to 1, not {least:g}")
    gathered = gather(store, Wanted(project.id, when.since, when.until))
    return Agreed(least, frozenset(agreed_items(gathered, least)))


def _of_project(wanted: Filter) -> Since:
    """The filters that a project's answers have. Raises UsageError for another one."""
    when = Since(wanted.since, wanted.until)
    if wanted != Filter(since=when.since, until=when.until):
        raise UsageError("--project takes --since and --until only: its form says what was asked")
    return when


def _import(args: argparse.Namespace) -> int:
    with opened_store(store_settings(args), new=True) as store:
        counts = import_feedback(store, args.folder)
    print(
        json.dumps(counts) if args.json else f"{counts['rows']} rows, {counts['new']} of them new"
    )
    return 0


def _stats(args: argparse.Namespace) -> int:
    wanted = filter_of(args)
    with opened_store(store_settings(args)) as store:
        key = secrets.token_bytes(32)  # one person is one in all of it
        project = None if args.project is None else projects.named(store, args.project).id
        rows = () if project else feedback_rows(store, wanted, key)
        votes = () if project else comparison_rows(store, wanted, key)
        counts = figures(rows, votes)
        found = report(store, Wanted(project, wanted.since, wanted.until, args.model), key)
    if args.json:
        print(json.dumps(counts | {"results": found.told()}, ensure_ascii=False))
    else:
        volume = found.volume
        of_project = {"annotations": volume.by_kind["annotation"], "people": volume.people}
        print("\n".join([*_lines(of_project if project else counts), *found.lines()]))
    return 0


def _project(args: argparse.Namespace) -> int:
    settings = store_settings(args)
    with opened_store(settings, new=args.project_action == "create") as store:
        return projects.run(args, store, settings)


_ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "export": _export,
    "import": _import,
    "stats": _stats,
    "project": _project,
}


@contextmanager
def opened_store(settings: Settings, *, new: bool = False) -> Iterator[ConversationStore]:
    """The store that the settings name. Raises UsageError where there is none yet, unless `new`."""
    database = settings.database
    if (
        not new
        and database.startswith("sqlite:///")
        and not Path(database.removeprefix("sqlite:///")).exists()
    ):
        raise UsageError(
            f"there is no database {database.removeprefix('sqlite:///')}; name the one of the page "
            "with --data-dir or --database-url"
        )
    store = ConversationStore.open(database, settings.data_dir)
    try:
        yield store
    finally:
        store.close()


def store_settings(args: argparse.Namespace) -> Settings:
    """Where it is kept; some options are called as settings are and mean something else (--model).

    Raises SettingError.
    """
    given = {name: value for name, value in vars(args).items() if name in STORE_FIELDS}
    return load_settings(argparse.Namespace(**given))


def filter_of(args: argparse.Namespace, about: str = "") -> Filter:
    """What the filters ask for. about: before the names of those that are taken elsewhere.

    Raises UsageError for what is no time.
    """
    return Filter(
        since=_time("--since", args.since),
        until=_time("--until", args.until),
        liked=None if args.liked is None else ANSWERS[args.liked],
        reason=args.reason,
        model=getattr(args, f"{about}model"),
        adapter=getattr(args, f"{about}adapter"),
    )


def _time(flag: str, text: str | None) -> datetime | None:
    """A time as people write it; a day begins at midnight, and without a zone it is UTC.

    >>> _time("--since", "2026-01-31").isoformat()
    '2026-01-31T00:00:00+00:00'
    """
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{flag} must be like 2026-01-31 or 2026-01-31T12:00+02:00, not {text!r}"
        ) from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _lines(counts: Mapping[str, Any]) -> Iterator[str]:
    for name, value in counts.items():
        if not isinstance(value, Mapping):
            yield f"{name}: {value}"
            continue
        yield f"{name}:"
        for key, inner in value.items():
            told = ", ".join(f"{n} {k}" for k, n in inner.items()) if type(inner) is dict else inner
            yield f"  {key}: {told}"
