"""Projects of annotation from the command line, whose user hosts them.

list                  what there is          create FILE   from a JSON file: its name, its form
add PROJECT FILE      items of a file        add-kept      items of kept chats
show PROJECT          how far it is          remove        with all that was said in it
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llava_chat.assembly import picture_limits
from llava_chat.errors import FeedbackError, UsageError
from llava_chat.feedback import REASONS
from llava_chat.feedback.annotation import Annotation, Leading, in_folder, progress
from llava_chat.settings import Settings
from llava_chat.store import ConversationStore, Member, Project

HOST = Member("", "host", "host")
"""Who may read the database's files hosts what is in it."""
MAX_FILE_BYTES = 256 * 2**20
_FORMATS = {".jsonl": "jsonl", ".csv": "csv", ".json": "llava"}
_ANSWERS = {"yes": True, "no": False}


def add_arguments(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The actions, each with its own options; returns their parsers."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="project_action")
    listed = actions.add_parser("list", help="all projects, and how far they are")
    create = actions.add_parser("create", help="a project; prints its id")
    create.add_argument("file", type=Path, metavar="FILE", help="JSON: name, form, overlap, ...")
    add = actions.add_parser("add", help="items from a file, all or none")
    _add_project(add)
    add.add_argument("file", type=Path, metavar="FILE", help="rows of items")
    add.add_argument(
        "--pictures", type=Path, metavar="DIR", help="the folder that the rows' pictures lie below"
    )
    add.add_argument(
        "--format",
        choices=tuple(_FORMATS.values()),
        help="by default the file's: .jsonl, .csv, or .json for LLaVA's instruction JSON",
    )
    kept = actions.add_parser("add-kept", help="items from replies in kept chats")
    _add_project(kept)
    kept.add_argument("--limit", type=int, default=100, help="so many at most (%(default)s)")
    kept.add_argument("--rated", choices=tuple(_ANSWERS), help="its owner said something of it")
    kept.add_argument("--liked", choices=tuple(_ANSWERS), help="its owner rated it so")
    kept.add_argument("--reason", choices=tuple(REASONS), help="the rating has this reason")
    kept.add_argument("--model", metavar="ID", help="of this model")
    kept.add_argument("--adapter", metavar="ID", help="with this adapter")
    show = actions.add_parser("show", help="how far a project is, by item and by annotator")
    _add_project(show)
    remove = actions.add_parser("remove", help="delete a project with all that was said in it")
    _add_project(remove)
    return [listed, create, add, kept, show, remove]


def _add_project(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", metavar="PROJECT", help="its name or its id")


def run(args: argparse.Namespace, store: ConversationStore, settings: Settings) -> int:
    """Do what was asked for."""
    told, lines = _ACTIONS[args.project_action](args, store, settings)
    print(json.dumps(told, ensure_ascii=False) if args.json else "\n".join(lines))
    return 0


Done = tuple[Any, Sequence[str] | Iterator[str]]


def _list(args: argparse.Namespace, store: ConversationStore, settings: Settings) -> Done:
    found: list[dict[str, Any]] = [
        {
            "id": one.project.id,
            "name": one.project.name,
            "open": one.project.open,
            "items": one.items,
            "overlap": one.project.overlap,
            "done": one.done,
        }
        for one, _ in Annotation.of(store).projects(HOST)
    ]
    lines = [
        f"{one['id']}  {one['name']}: {one['items']} items, {one['done']} of "
        f"{one['items'] * one['overlap']} answers{'' if one['open'] else ', closed'}"
        for one in found
    ]
    return found, lines


def _create(args: argparse.Namespace, store: ConversationStore, settings: Settings) -> Done:
    try:
        document = json.loads(_text(args.file))
    except (ValueError, RecursionError) as error:
        raise FeedbackError(f"{args.file} is not valid JSON: {error}.") from error
    if not isinstance(document, dict):
        raise FeedbackError(f"{args.file}: it must hold an object with a name and a form.")
    project = Leading.of(store).create(HOST, document)
    return {"id": project.id}, [project.id]


def _add(args: argparse.Namespace, store: ConversationStore, settings: Settings) -> Done:
    format = args.format or _FORMATS.get(args.file.suffix.lower())
    if format is None:
        raise UsageError(f"{args.file}: say with --format what it is")
    if args.pictures is not None and not args.pictures.is_dir():
        raise UsageError(f"--pictures: there is no folder {args.pictures}")
    project = named(store, args.project)
    added = Leading.of(store).add(
        HOST,
        project.id,
        format,
        _text(args.file),
        in_folder(args.pictures),
        picture_limits(settings),
        str(args.file),
    )
    return {"added": added}, [f"{added} items added to {project.name}"]


def _add_kept(args: argparse.Namespace, store: ConversationStore, settings: Settings) -> Done:
    project = named(store, args.project)
    wanted = {
        "rated": None if args.rated is None else _ANSWERS[args.rated],
        "liked": None if args.liked is None else _ANSWERS[args.liked],
        **{name: getattr(args, name) for name in ("reason", "model", "adapter")},
    }
    added = Leading.of(store).add_kept(HOST, project.id, wanted, args.limit)
    return {"added": added}, [f"{added} items added to {project.name}"]


def _show(args: argparse.Namespace, store: ConversationStore, settings: Settings) -> Done:
    project = named(store, args.project)
    told = progress(Leading.of(store).standing(HOST, project.id))
    return told, _lines(told)


def _remove(args: argparse.Namespace, store: ConversationStore, settings: Settings) -> Done:
    project = named(store, args.project)
    items = Leading.of(store).remove(HOST, project.id)
    return {"removed": project.id, "items": items}, [f"{project.name} is gone, with {items} items"]


_ACTIONS: Mapping[str, Callable[[argparse.Namespace, ConversationStore, Settings], Done]] = {
    "list": _list,
    "create": _create,
    "add": _add,
    "add-kept": _add_kept,
    "show": _show,
    "remove": _remove,
}


def named(store: ConversationStore, name: str) -> Project:
    """The one project of this name or id. Raises UsageError."""
    found = Leading.of(store).projects(HOST, name)
    if not found:
        raise UsageError(f"there is no project {name!r}; `feedback project list` names them")
    if len(found) > 1:
        ids = ", ".join(project.id for project in found)
        raise UsageError(f"several projects are called {name!r}; name one by its id: {ids}")
    return found[0]


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise FeedbackError(f"{path} has more than {MAX_FILE_BYTES:,} bytes: add it in parts.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FeedbackError(f"{path} is not UTF-8: {error}.") from error


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    state = "open" if told["open"] else "closed"
    yield f"{told['name']} ({told['id']}), {state}"
    yield (
        f"{told['finished']} of {told['items']} items are judged by {told['overlap']} people; "
        f"{_outcomes(told['answers'])}; {_seconds(told['lead_time_s'])} an answer"
    )
    for one in told["per_annotator"]:
        yield f"  {one['name']}: {_outcomes(one)}; {_seconds(one['lead_time_s'])}"
    for flag in told["flags"]:
        yield f"  item {flag['number']} was flagged by {flag['name']}: {flag['note'] or '-'}"


def _outcomes(told: Mapping[str, Any]) -> str:
    return ", ".join(f"{told[name]} {name}" for name in ("answered", "skipped", "flagged"))


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"
