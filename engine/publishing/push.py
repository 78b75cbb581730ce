"""A folder to a repository, all or nothing: staged on a branch, read back there, and shown by one commit.

`upload_folder` puts a large folder up in several commits, so on `main` a reader could see half a set. Here it fills a
staging branch, whose name is a hash of the folder: a second try finds what the first one left. When every file there
has the right checksum, one commit on `main` refers to the staged files (nothing is sent twice), removes what an earlier
publication left, and is refused if `main` moved. Then `main` is read back and the branch is removed.
docs/decisions/0008-publishing.md says why not a pull request.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import EcsoError, OutputError, UsageError
from engine.publishing.data import SEAL
from engine.publishing.hub import ChangedError, Hub, MissingError, TransientError

STAGING = "ecso-staging-"
MAIN = "main"
CARD = "README.md"
COMMIT_TRIES = 4
SEALS = {"dataset": SEAL, "model": "training.json"}
"""What lists the files of an earlier publication; only those are ever removed."""

DATA_FILES = (".parquet", ".safetensors")


class Local(NamedTuple):
    """One file of the folder, by all the names that the Hub may know it by."""

    path: Path
    size: int
    sha256: str
    blob: str
    """git's own checksum, which small files go by."""


@dataclass
class Target:
    """One repository to be filled. `gated`: made gated (manual) and private before any file goes up."""

    repo: str
    kind: str
    folder: Path
    private: bool = True
    gated: bool = False
    message: str = "Publish with ecso-engine"
    head: str = ""
    """The commit of `main` that this publication goes on top of."""
    staged: str = ""
    done: str = ""
    """The commit that shows it."""
    files: dict[str, Local] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def branch(self) -> str:
        whole = hashlib.sha256(json.dumps([[name, each.sha256] for name, each in sorted(self.files.items())]).encode())
        return STAGING + whole.hexdigest()[:16]


class Pusher:
    """Pushes targets. `check`: reads files of a revision back and raises where they are not the folder's."""

    def __init__(self, hub: Hub, check: Callable[[Hub, Target, str], None]) -> None:
        self.hub, self.api, self._check = hub, hub.api, check

    def prepare(self, target: Target) -> None:
        """The repository exists, is private or gated as it must be, and its head is known. No file goes up."""
        hub, repo = self.hub, target.repo
        existing = self._info(target)
        if existing is None:
            hub.patiently(
                f"creating {repo}",
                lambda: self.api.create_repo(repo, repo_type=target.kind, private=target.private, exist_ok=True),
            )
        elif target.private and not target.gated and not existing.private:
            raise UsageError(
                f"{repo} exists and is public; pass --public, or make it private first. Nothing was pushed"
            )
        if target.gated:
            hub.patiently(
                f"gating {repo}",
                lambda: self.api.update_repo_settings(repo, repo_type=target.kind, private=True, gated="manual"),
            )
        info = self._info(target)
        if info is None:
            raise OutputError(f"{repo}: was created, and cannot be seen; run the same command again")
        if existing is None and target.private and not info.private:
            raise OutputError(f"{repo}: was created private, and the Hub says that it is public. Nothing was pushed")
        if target.gated and not (info.gated == "manual" and info.private):
            raise OutputError(
                f"{repo}: is to be private and gated (manual), the Hub says private={info.private}, "
                f"gated={info.gated}. Nothing was pushed"
            )
        target.head = str(info.sha)

    def read_card(self, target: Target) -> str | None:
        """README.md of `main`; None where there is none."""
        return self._read(target, CARD)

    def stage(self, target: Target) -> None:
        """Every file on the staging branch, checked there. Finds what an earlier try left."""
        target.files = local_files(target.folder)
        self.hub.redact.check(target.folder)
        if self._differs(target, target.head) == []:
            return
        hub, branch = self.hub, target.branch
        hub.patiently(
            f"making the branch {branch} of {target.repo}",
            lambda: self.api.create_branch(
                target.repo, branch=branch, revision=target.head, repo_type=target.kind, exist_ok=True
            ),
        )
        if self._differs(target, branch):
            hub.patiently(
                f"uploading to {target.repo}",
                lambda: self.api.upload_folder(
                    repo_id=target.repo,
                    repo_type=target.kind,
                    folder_path=target.folder,
                    revision=branch,
                    commit_message=target.message,
                ),
                tries=2,
            )
        self._require_same(target, branch, "nothing is visible yet; run the same command again")
        self._check(hub, target, branch)
        target.staged = branch

    def show(self, target: Target) -> None:
        """One commit on `main`, then `main` read back. Already there: only read back."""
        target.done = self._commit(target) if target.staged else target.head
        self._require_same(target, target.done, "the Hub does not hold what was pushed; look at the repository")
        self._check(self.hub, target, target.done)
        if target.staged:
            try:
                self.hub.once(
                    f"removing the branch {target.staged}",
                    lambda: self.api.delete_branch(target.repo, branch=target.staged, repo_type=target.kind),
                )
            except EcsoError as error:
                target.notes.append(f"the branch {target.staged} of {target.repo} was left behind ({error})")

    def _commit(self, target: Target) -> str:
        """The commit's id. A commit whose answer was lost is found by what `main` holds, not made twice."""
        for number in range(COMMIT_TRIES):
            try:
                return self.hub.once(f"the commit to {target.repo}", lambda: self._send(target))
            except (TransientError, ChangedError) as error:
                info = self.hub.patiently(f"looking at {target.repo}", lambda: self._info(target))
                head = "" if info is None else str(info.sha)
                if head and head != target.head and self._differs(target, head) == []:
                    return head
                if isinstance(error, ChangedError) or head != target.head or number == COMMIT_TRIES - 1:
                    raise
                self.hub.wait(number, error)
        raise AssertionError("the loop ends by return or raise")

    def _send(self, target: Target) -> str:
        from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete

        listing = self._tree(target, target.staged)
        changed = self._differs(target, target.head)
        operations: list[Any] = []
        for name in changed:
            if listing[name].lfs is None:
                operations.append(CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(target.files[name].path)))
            else:
                operations.append(
                    CommitOperationCopy(src_path_in_repo=name, path_in_repo=name, src_revision=target.staged)
                )
        operations += [CommitOperationDelete(path_in_repo=name, is_folder=False) for name in self._stale(target)]
        made = self.api.create_commit(
            target.repo,
            operations,
            commit_message=target.message,
            repo_type=target.kind,
            revision=MAIN,
            parent_commit=target.head,
        )
        return str(made.oid)

    def _stale(self, target: Target) -> list[str]:
        """Files of an earlier publication (and of nobody else) that this one does not have."""
        found = self._read(target, SEALS[target.kind])
        try:
            former = {str(file["path"]) for file in json.loads(found or "{}").get("files", [])}
        except (ValueError, TypeError, KeyError, AttributeError):
            return []
        there = self._tree(target, target.head)
        return sorted(name for name in former - target.files.keys() if name in there and name.endswith(DATA_FILES))

    def _read(self, target: Target, name: str) -> str | None:
        def get() -> bytes:
            with self.file_system().open(address(target, name, target.head), "rb", block_size=1 << 20) as file:
                return bytes(file.read())

        if name not in self._tree(target, target.head):
            return None
        return self.hub.patiently(f"reading {name} of {target.repo}", get).decode("utf-8")

    def file_system(self) -> Any:
        """The repository as files. Nothing is cached between calls: what is read back must be what is there."""
        return file_system(self.hub)

    def _info(self, target: Target) -> Any:
        try:
            return self.hub.patiently(
                f"looking at {target.repo}", lambda: self.api.repo_info(target.repo, repo_type=target.kind)
            )
        except MissingError:
            return None

    def _tree(self, target: Target, revision: str) -> dict[str, Any]:
        def ask() -> dict[str, Any]:
            listed = self.api.list_repo_tree(target.repo, recursive=True, revision=revision, repo_type=target.kind)
            return {each.path: each for each in listed if hasattr(each, "blob_id")}

        return self.hub.patiently(f"listing {target.repo}", ask)

    def _differs(self, target: Target, revision: str) -> list[str]:
        """Names of the folder's files that the revision lacks or holds with another checksum."""
        listing = self._tree(target, revision)
        return [name for name, each in sorted(target.files.items()) if not _same(each, listing.get(name))]

    def _require_same(self, target: Target, revision: str, advice: str) -> None:
        differs = self._differs(target, revision)
        if differs:
            raise OutputError(
                f"{target.repo}: {len(differs)} of {len(target.files)} files have another size or checksum on the Hub "
                f"than here ({', '.join(differs[:5])}): {advice}"
            )


def file_system(hub: Hub) -> Any:
    """The Hub as a file system, without a cache between calls."""
    from huggingface_hub import HfFileSystem

    return HfFileSystem(
        endpoint=hub.endpoint, token=hub.token or False, skip_instance_cache=True, use_listings_cache=False
    )


def address(target: Target, name: str, revision: str) -> str:
    """A file of the repository as the file system writes it."""
    from urllib.parse import quote

    prefix = "datasets/" if target.kind == "dataset" else ""
    return f"{prefix}{target.repo}@{quote(revision, safe='')}/{name}"


def local_files(folder: Path) -> dict[str, Local]:
    """Every file of the folder by its path in the repository."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            whole, blob = hashlib.sha256(), hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while piece := file.read(8 << 20):
                    whole.update(piece)
                    blob.update(piece)
            found[name] = Local(path, path.stat().st_size, whole.hexdigest(), blob.hexdigest())
    return found


def _same(here: Local, there: Any) -> bool:
    if there is None or there.size != here.size:
        return False
    return bool(there.lfs.sha256 == here.sha256 if there.lfs else there.blob_id == here.blob)


def publish_all(pusher: Pusher, targets: Sequence[Target], card: Callable[[Target, str | None], None]) -> None:
    """Prepare and stage all, then show all: nothing becomes visible before everything is up and checked.

    `card` writes the target's card, given the one that is there.
    """
    for target in targets:
        pusher.prepare(target)
    for target in targets:
        card(target, pusher.read_card(target))
        pusher.stage(target)
    for target in targets:
        pusher.show(target)
