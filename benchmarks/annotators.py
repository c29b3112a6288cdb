"""Many annotators at once on one project of a real server: how long they wait, what goes wrong.

    python benchmarks/annotators.py [--people 50] [--items 200] [--overlap 3] [--json FILE]
        [--database-url URL]

Each is a browser of its own: a session, the agreement, then one item after the other, with its
picture, a draft and the answer, as fast as the server gives them, until nothing is left. Then what
was given and what was acknowledged is held against what the server kept.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this folder alone is on it

from benchmarks.openai_http import free_port, server_process
from benchmarks.report import Result, head, markdown, options, percentile, tell
from benchmarks.talk import drawing
from llava_chat.image import png_bytes

PEOPLE, ITEMS, OVERLAP = 50, 200, 3
DEADLINE_S = 120.0
FORM = [
    {"name": "good", "type": "scale", "label": "Good?", "min": 1, "max": 5, "required": True},
    {"name": "better", "type": "correction", "label": "What it should say"},
]
STEPS = ("next", "picture", "draft", "submit")


@dataclass
class Judged:
    """What annotators saw.

    times_s: of each step of each item. errors: answers other than 200. given: the people of each
    item. acknowledged: ids of answers, each with its item. seconds: of all together.
    """

    times_s: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in STEPS})
    errors: list[str] = field(default_factory=list)
    given: dict[str, list[int]] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def problems(self, kept: Sequence[dict[str, Any]], overlap: int) -> list[str]:
        """What must not be, as sentences. kept: the project's results as the server tells them."""
        found = list(self.errors)
        for item, people in self.given.items():
            if len(set(people)) < len(people):
                found.append(f"{item} was given to somebody twice")
            if len(people) > overlap:
                found.append(f"{item} was given to {len(people)} people")
        by_id = Counter(row["id"] for row in kept)
        found += [f"answer {id} is kept {n} times" for id, n in by_id.items() if n > 1]
        items = {row["id"]: row["item"] for row in kept}
        for id, item in self.acknowledged.items():
            if items.get(id) != item:
                found.append(f"answer {id} was acknowledged and is not kept")
        people_of = Counter(row["item"] for row in kept)
        found += [f"{item} has {n} answers" for item, n in people_of.items() if n != overlap]
        return found


class Browser:
    """Somebody with a session of their own, who agreed that what they say is kept."""

    def __init__(self, url: str) -> None:
        self._http = httpx2.Client(base_url=url, timeout=DEADLINE_S, trust_env=False)
        self._http.get("/config").raise_for_status()  # brings the session's cookie
        self._http.post("/feedback/consent", json={"keep": True}).raise_for_status()

    def post(self, path: str, **body: Any) -> httpx2.Response:
        """A request of the page of annotation."""
        return self._http.post(f"/annotate/{path}", json=body)

    def get(self, path: str) -> httpx2.Response:
        """A picture, or results."""
        return self._http.get(path)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def project(self, items: int, overlap: int) -> str:
        """Make a project about one drawing, of which so many items ask the same."""
        made = self.post("create", name="Load", form=FORM, overlap=overlap).raise_for_status()
        picture = base64.b64encode(png_bytes(drawing(1))).decode()
        row = {"question": "What is it?", "picture": "1.png", "reply": "A circle."}
        id: str = made.json()["id"]
        self.post(
            "add",
            project=id,
            format="jsonl",
            text="\n".join([json.dumps(row)] * items),
            pictures={"1.png": f"data:image/png;base64,{picture}"},
        ).raise_for_status()
        return id

    def results(self, project: str) -> list[dict[str, Any]]:
        """All that is kept of a project."""
        answer = self.get(f"/annotate/results.jsonl?project={project}").raise_for_status()
        return [json.loads(line) for line in answer.text.splitlines()]


def judge(url: str, project: str, people: int) -> Judged:
    """Have so many people work on a project until nothing is left for any of them."""
    seen, lock = Judged(), threading.Lock()
    together = threading.Barrier(people + 1)

    def timed(step: str, answer: httpx2.Response, begun_s: float) -> bool:
        with lock:
            seen.times_s[step].append(time.perf_counter() - begun_s)
            if answer.status_code != 200:
                seen.errors.append(f"{step}: {answer.status_code} {answer.text[:200]}")
        return answer.status_code == 200

    def work(number: int) -> None:
        browser = Browser(url)
        together.wait()
        while True:
            begun_s = time.perf_counter()
            answer = browser.post("next", project=project)
            if not timed("next", answer, begun_s) or answer.json()["item"] is None:
                break
            item = answer.json()["item"]
            with lock:
                seen.given.setdefault(item["id"], []).append(number)
            begun_s = time.perf_counter()
            timed("picture", browser.get(item["pictures"][0]["url"]), begun_s)
            values = {"good": 1 + number % 5, "better": "A red circle."}
            begun_s = time.perf_counter()
            draft = browser.post("draft", item=item["id"], values=values, lead_time_s=1)
            timed("draft", draft, begun_s)
            id, begun_s = uuid4().hex, time.perf_counter()
            answer = browser.post("submit", item=item["id"], id=id, values=values, lead_time_s=2)
            if not timed("submit", answer, begun_s):
                break
            with lock:
                seen.acknowledged[id] = item["id"]
        browser.close()

    with ThreadPoolExecutor(people) as threads:
        working = [threads.submit(work, number) for number in range(people)]
        together.wait(DEADLINE_S)
        begun_s = time.perf_counter()
        for one in working:
            one.result()
    seen.seconds = time.perf_counter() - begun_s
    return seen


def measure(people: int, items: int, overlap: int, database_url: str | None) -> Result:
    """A server in a process of its own, and everybody at once; None for SQLite."""
    with tempfile.TemporaryDirectory(prefix="llava-annotators-") as folder:
        url = f"http://127.0.0.1:{(port := free_port())}"
        command = [
            *(sys.executable, "-m", "llava_chat", "serve", "--port", str(port)),
            *("--data-dir", folder),
            *(("--database-url", database_url) if database_url else ()),
        ]
        with server_process(command, f"{url}/readyz", cwd=ROOT):
            lead = Browser(url)
            project = lead.project(items, overlap)
            seen = judge(url, project, people)
            problems = seen.problems(lead.results(project), overlap)
            lead.close()
    requests = sum(map(len, seen.times_s.values()))
    return {
        **head("annotators", torch.device("cpu"), torch.float32),
        "people": people,
        "items": items,
        "overlap": overlap,
        "seconds": seen.seconds,
        "requests": requests,
        "answers": len(seen.acknowledged),
        "problems": problems,
        "steps": {
            step: {
                f"p{percent}_ms": 1000 * percentile(times_s, percent) for percent in (50, 95, 99)
            }
            for step, times_s in seen.times_s.items()
        },
    }


def table(result: Result) -> str:
    """The waits of each step, and what was done in all."""
    rows = [
        [step, *(f"{told[name]:.0f}" for name in ("p50_ms", "p95_ms", "p99_ms"))]
        for step, told in result["steps"].items()
    ]
    per_s = result["answers"] / result["seconds"]
    shown = markdown([f"{result['people']} at once, ms", "p50", "p95", "p99"], rows)
    return (
        f"{shown}\n\n{result['answers']} answers of {result['items']} items by {result['overlap']} "
        f"people each in {result['seconds']:.1f} s, {per_s:.1f} a second; "
        f"{len(result['problems'])} problems"
    )


def main() -> None:
    """Measure, print, keep."""
    parser = options(__doc__, shape="bundled")
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--overlap", type=int, default=OVERLAP)
    parser.add_argument("--database-url", metavar="URL", help="of an empty database, not SQLite")
    given = parser.parse_args()
    result = measure(given.people, given.items, given.overlap, given.database_url)
    tell(result, table(result), given.json)
    for problem in result["problems"][:20]:
        print(problem, file=sys.stderr)
    if result["problems"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
