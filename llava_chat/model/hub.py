"""From a Hub id to a folder of huggingface_hub's cache that holds the whole model.

huggingface_hub downloads and keeps the cache, and `resumable` gets the large files into it. Here is
decided which files of a repository are wanted and whether they can be had, before the long work;
and what is in the cache counts only when it is whole. huggingface_hub is imported only when a Hub
id is given. Imports `file_names`, `download_progress`, `resumable`, `weight_files`, progress and
errors.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llava_chat.errors import CheckpointError, LlavaChatError
from llava_chat.model.download_progress import byte_counter, silent_bar
from llava_chat.model.file_names import (
    ADAPTER_CONFIG_NAME,
    COMPANIONS,
    CONFIG_NAME,
    chosen_files,
    chosen_weights,
    is_one_of,
)
from llava_chat.model.resumable import LARGE_BYTES, LargeFile, download
from llava_chat.model.weight_files import one_line, weight_files
from llava_chat.progress import Report

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo
    from huggingface_hub.hf_api import RepoSibling

_LOOKUP_S = 10.0
_LOGIN = "`hf auth login`"


@dataclass(frozen=True)
class HubModel:
    """A model on the Hub: owner/name, and a branch, tag or commit."""

    id: str
    revision: str = "main"

    @classmethod
    def named(cls, name: str) -> HubModel:
        """From `owner/name` or `owner/name@revision`.

        >>> HubModel.named("a/b"), HubModel.named("a/b@v1").revision
        (HubModel(id='a/b', revision='main'), 'v1')
        """
        hub_id, _, revision = name.partition("@")
        return cls(hub_id, revision or "main")

    @property
    def download_command(self) -> str:
        """What a person may type to have it.

        >>> HubModel("a/b", "v1").download_command
        'hf download a/b --revision v1'
        """
        revision = "" if self.revision == "main" else f" --revision {self.revision}"
        return f"hf download {self.id}{revision}"

    def __str__(self) -> str:
        return self.id if self.revision == "main" else f"{self.id}@{self.revision}"


def hub_snapshot(model: HubModel, *, download: bool, report: Report | None = None) -> Path:
    """The folder with every file of a model that is wanted, downloaded when `download` allows it.

    Where the Hub does not give it, what was downloaded before is used, if it is whole. Raises
    CheckpointError saying in a sentence why the model cannot be had.
    """
    cached = cached_snapshot(model)
    if not download:
        if cached is None:
            raise CheckpointError(
                f"There is no folder {model}, and the Hugging Face model of that name was not "
                f"downloaded yet, or only in part; download it with `{model.download_command}`."
            )
        return cached
    try:
        return _current_snapshot(model, cached, report)
    except CheckpointError:
        if cached is None:
            raise
        return cached


def hub_outline(model: HubModel) -> tuple[Path, int]:
    """The folder with the small files of a model, and how many bytes its weights would take.

    Only what is beside the weights is downloaded. Raises CheckpointError as `hub_snapshot` does.
    """
    from huggingface_hub import hf_hub_download

    info = _look_up(model)
    files = _wanted_files(model, info)
    small = [file.rfilename for file in files if is_one_of(file.rfilename, COMPANIONS)]
    with _stop_told(model):
        for name in small:
            hf_hub_download(
                model.id, name, revision=info.sha, tqdm_class=silent_bar(lambda _: None)
            )
    weights = (file.size or 0 for file in files if file.rfilename not in small)
    return _cache_folder(model) / "snapshots" / str(info.sha), sum(weights)


def _current_snapshot(model: HubModel, cached: Path | None, report: Report | None) -> Path:
    info = _look_up(model)
    if cached is not None and cached.name == info.sha:
        return cached
    files = _wanted_files(model, info)
    missing = [file for file in files if not _is_cached(model, info, file)]
    with _stop_told(model):
        return _downloaded(model, str(info.sha), files, missing, report)


@contextmanager
def _stop_told(model: HubModel) -> Iterator[None]:
    """One sentence for whatever stops a download.

    Each of the client's transports has exceptions of its own (a ReadTimeout, a ProxyError, Xet's),
    which share no base below Exception; and whatever failed, the model is not here.
    """
    try:
        yield
    except LlavaChatError:  # a sentence already, or the one who asked wants it no more
        raise
    except Exception as error:
        raise CheckpointError(
            f"The download of {model} stopped ({_reason(error)}); start it again: what came is "
            "kept."
        ) from error


def _look_up(model: HubModel) -> ModelInfo:
    """The Hub's list of a repository's files, if this user may have them."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    api = HfApi()
    try:
        info = api.model_info(
            model.id, revision=model.revision, files_metadata=True, timeout=_LOOKUP_S
        )
        if info.gated:  # its list of files is public, they are not
            api.auth_check(model.id)
    except GatedRepoError as error:
        raise CheckpointError(
            f"{model} is given only to those who accept its licence: do that on "
            f"{api.endpoint}/{model.id}, log in with {_LOGIN}, and try again."
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"There is no folder {model}, and no model of that name on the Hugging Face Hub; if "
            f"it is a private one, log in with {_LOGIN}."
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(
            f"{model.id} has no branch, tag or commit {model.revision} on the Hugging Face Hub."
        ) from error
    except Exception as error:  # no network, a proxy, a server's error: see above
        raise CheckpointError(
            f"There is no folder {model}, and the Hugging Face Hub could not be asked for a model "
            f"of that name ({_reason(error)}); look at the network, or name a folder."
        ) from error
    return info


def _wanted_files(model: HubModel, info: ModelInfo) -> list[RepoSibling]:
    by_name = {file.rfilename: file for file in info.siblings or ()}
    if not chosen_weights(by_name):
        raise CheckpointError(
            f"{model} holds no weights that are read here, which are safetensors or .bin files of "
            "the names that transformers or LLaVA's training gives them."
        )
    return [by_name[name] for name in chosen_files(by_name)]


def _cache_folder(model: HubModel) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{model.id.replace('/', '--')}"


def _is_cached(model: HubModel, info: ModelInfo, file: RepoSibling) -> bool:
    """Whether a file need not be downloaded: it is there, or is the same as in another revision."""
    folder = _cache_folder(model)
    content = file.lfs.sha256 if file.lfs else file.blob_id
    return (folder / "snapshots" / str(info.sha) / file.rfilename).is_file() or (
        content is not None and (folder / "blobs" / content).is_file()
    )


def _check_space(model: HubModel, needed: int) -> None:
    """Raise CheckpointError when the disk of the cache has not so many bytes left."""
    folder = _cache_folder(model)
    there = next(parent for parent in folder.parents if parent.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise CheckpointError(
            f"The download of {model} needs {needed / 1e9:.1f} GB, and {there} has "
            f"{free / 1e9:.1f} GB left; make room, or set HF_HOME to a folder on a larger disk."
        )


def _downloaded(
    model: HubModel,
    commit: str,
    files: Iterable[RepoSibling],
    missing: Iterable[RepoSibling],
    report: Report | None,
) -> Path:
    """Get what is missing, one file after the other.

    Only then snapshot_download, which downloads all at once, finds every file there and notes which
    belong together. Until then the cache's `main` is whatever was whole before.
    """
    from huggingface_hub import hf_hub_download, snapshot_download

    large = {
        file.rfilename: _large_file(model, commit, file) for file in missing if _is_large(file)
    }
    held = {name: file.held for name, file in large.items()}
    lacking = sum(file.size or 0 for file in missing) - sum(held.values())
    _check_space(model, lacking)
    total = sum(file.size or 0 for file in files)
    tell = byte_counter(f"downloading {model}", total - lacking, total, report)
    bars: Any = silent_bar(tell)
    for file in files:
        if file.rfilename in large:
            download(large[file.rfilename], held[file.rfilename], tell)
        hf_hub_download(model.id, file.rfilename, revision=commit, tqdm_class=bars)
    names = [file.rfilename for file in files]
    snapshot_download(model.id, revision=model.revision, allow_patterns=names, tqdm_class=bars)
    return _cache_folder(model) / "snapshots" / commit


def _is_large(file: RepoSibling) -> bool:
    from huggingface_hub import constants

    size = file.size or 0
    return bool(file.lfs) and LARGE_BYTES <= size <= constants.MAX_HTTP_DOWNLOAD_SIZE


def _large_file(model: HubModel, commit: str, file: RepoSibling) -> LargeFile:
    """Where a large file comes from and goes to, in the layout of huggingface_hub's cache."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import are_symlinks_supported

    assert file.lfs is not None and file.size is not None
    folder = _cache_folder(model)
    content = file.lfs.sha256
    blob = folder / "blobs" / content
    # Without links it would make a second copy of a blob, instead of moving one of its own.
    linked = are_symlinks_supported(folder.parent)
    return LargeFile(
        name=f"{file.rfilename} of {model}",
        url=hf_hub_url(model.id, file.rfilename, revision=commit),
        size=file.size,
        sha256=content,
        target=blob if linked else folder / "snapshots" / commit / file.rfilename,
        # `hf cache prune` knows the ending; a name of its own: huggingface_hub's parts have holes.
        part=blob.with_name(f"{content}.resumable.incomplete"),
        lock=folder.parent / ".locks" / folder.name / f"{content}.lock",
    )


def cached_snapshot(model: HubModel) -> Path | None:
    """The folder of a download that is whole, None when there is none.

    The list of the repository's files is in the cache too, from huggingface_hub 1.23 on; of an
    older download it is asked whether its configuration and weights are there.
    """
    from huggingface_hub import get_cached_repo_tree, snapshot_download
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        snapshot = Path(
            snapshot_download(
                model.id,
                revision=model.revision,
                local_files_only=True,
                allow_patterns=CONFIG_NAME,  # of all files, most are not wanted
            )
        )
        tree = get_cached_repo_tree(model.id, revision=model.revision)
        names = chosen_files(file.path for file in tree)
    except CachedRepoTreeNotFoundError:
        return snapshot if _looks_whole(snapshot) else None
    except (OSError, ValueError):  # nothing in the cache, or no name that could be
        return None
    return snapshot if names and all((snapshot / name).is_file() for name in names) else None


def _looks_whole(snapshot: Path) -> bool:
    there = {path.name for path in snapshot.iterdir() if path.is_file()}
    if not there & {CONFIG_NAME, ADAPTER_CONFIG_NAME}:
        return False
    try:
        weight_files(snapshot)
    except CheckpointError:
        indexed = any(name.endswith(".index.json") for name in there)
        return not indexed and bool(chosen_weights(there))
    return True


def _reason(error: Exception) -> str:
    """The first line of what another library says, or at least what kind of thing happened."""
    lines = str(error).strip().splitlines()
    return one_line(Exception(lines[0])) if lines else type(error).__name__
