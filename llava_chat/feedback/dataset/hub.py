"""The dataset on the Hub: what is in it, how it is read, pushed to and tidied.

huggingface_hub finds the token itself, in the variable HF_TOKEN. Imports huggingface_hub and
httpx2, whose errors become sentences here, and errors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    CommitScheduler,
    HfApi,
    get_session,
)
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from llava_chat.errors import StoreError

PATTERNS = ("journal/*.jsonl", "pictures/*.png")
ANSWER_TIMEOUT_S = 60.0  # huggingface_hub has none, and one push that hangs would be the last
DOWNLOADS_AT_ONCE = 8


@dataclass(frozen=True)
class Listing:
    """What a dataset holds at one commit: hashes of contents by the names of files."""

    commit: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def below(self, folder: str) -> dict[str, str]:
        """The files in a folder."""
        return {name: id for name, id in self.files.items() if name.startswith(f"{folder}/")}


class HubDataset:
    """A private dataset, `owner/name`. The methods raise StoreError when the Hub fails."""

    def __init__(self, id: str, api: HfApi | None = None) -> None:
        self.id = id
        self.api = api or HfApi()

    def look(self) -> Listing:
        """What is in it; an empty listing where there is no such dataset yet.

        Raises StoreError also where everybody can read it.
        """
        with self.told():
            get_session().timeout = ANSWER_TIMEOUT_S
            try:
                info = self.api.dataset_info(self.id)
            except RepositoryNotFoundError:
                return Listing()
            if not info.private:
                raise StoreError(
                    f"The dataset {self.id} is public, so that nothing is written to it: make it "
                    "private, or name another one."
                )
            tree = self.api.list_repo_tree(
                self.id, repo_type="dataset", revision=info.sha, recursive=True
            )
            files = {
                file.path: file.blob_id if file.lfs is None else file.lfs.sha256
                for file in tree
                if isinstance(file, RepoFile)
            }
            return Listing(info.sha, files)

    def download(self, listing: Listing, names: Iterable[str], folder: Path) -> None:
        """Have these files of a listing below a folder, under their names."""

        def one(name: str) -> None:
            self.api.hf_hub_download(
                self.id, name, repo_type="dataset", revision=listing.commit, local_dir=folder
            )

        with self.told(), ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            for _ in pool.map(one, names):
                pass

    def tidy(self, listing: Listing, removed: Iterable[str], replaced: Mapping[str, bytes]) -> None:
        """Remove files and replace others, unless something else changed it since the listing.

        Its history goes too: what somebody deleted is in no earlier commit.
        """
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationDelete(path_in_repo=name) for name in removed
        ]
        operations += [CommitOperationAdd(name, content) for name, content in replaced.items()]
        with self.told():
            if operations:
                self.api.create_commit(
                    self.id,
                    operations,
                    repo_type="dataset",
                    commit_message="Tidy up",
                    parent_commit=listing.commit,
                )
            self.api.super_squash_history(self.id, repo_type="dataset")

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn what huggingface_hub and the network raise into one sentence."""
        try:
            yield
        except (HfHubHTTPError, httpx2.HTTPError, OSError, RuntimeError, ValueError) as error:
            raise StoreError(self._sentence(error)) from error

    def _sentence(self, error: Exception) -> str:
        answer = error.response if isinstance(error, HfHubHTTPError) else None
        if answer is not None and answer.status_code in (401, 403):
            return (
                f"The Hub does not let us write to the dataset {self.id}: HF_TOKEN must hold a "
                "token that may."
            )
        why = type(error).__name__ if answer is None else f"HTTP {answer.status_code}"
        return f"The dataset {self.id} on the Hub cannot be reached ({why})."


class Pusher(CommitScheduler):
    """huggingface_hub's scheduler, with the files brought up to date before each push.

    prepare: does that, under the scheduler's lock. pushed: is called after a push, failed: with
    what was raised instead. Raises StoreError when the dataset cannot be made.
    """

    def __init__(
        self,
        dataset: HubDataset,
        folder: Path,
        every_minutes: float,
        *,
        prepare: Callable[[], None],
        pushed: Callable[[], None],
        failed: Callable[[StoreError], None],
    ) -> None:
        self._dataset = dataset
        self._prepare, self._pushed, self._failed = prepare, pushed, failed
        logging.getLogger(CommitScheduler.__module__).setLevel(logging.CRITICAL)  # we tell it
        with dataset.told():
            super().__init__(
                repo_id=dataset.id,
                folder_path=folder,
                every=every_minutes,
                repo_type="dataset",
                private=True,
                allow_patterns=list(PATTERNS),
                hf_api=dataset.api,
            )

    def push_to_hub(self) -> CommitInfo | None:
        """Called by the scheduler alone, one push after the other."""
        try:
            with self._dataset.told():
                with self.lock:
                    self._prepare()
                info = super().push_to_hub()
            self._pushed()
        except StoreError as error:
            self._failed(error)
            raise
        return info
