"""A small Hub on 127.0.0.1: the HTTP routes that publishing and reading use, kept in memory, with faults on order.

Built from what huggingface_hub 2.4 sends and reads (hf_api.py, _commit_api.py, lfs.py, file_download.py). Xet is not
spoken. Listings come in pages of three, large files in parts, so that both are exercised.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_fakeFAKEfakeFAKEfakeFAKE1234"
SIGNATURE = "signedSIGNEDsignedSIGNED"
LFS_FROM = 10_000
"""Bytes from which a file goes to large storage; Parquet always does (as the Hub's .gitattributes say)."""

PART = 16_000
PAGE = 3


@dataclass(frozen=True)
class Blob:
    data: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        """git's checksum; that of the pointer for large files, as far as anyone looks."""
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()

    def entry(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {"type": "file", "path": path, "size": len(self.data), "oid": self.oid}
        if self.lfs:
            found |= {"lfs": {"oid": self.sha256, "size": len(self.data), "pointerSize": 134}}
        return found


Files = dict[str, Blob]


@dataclass
class Repo:
    kind: str
    name: str
    private: bool
    gated: Any = False
    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    titles: list[tuple[str, str]] = field(default_factory=list)
    """(branch, title) of each commit."""

    def commit(self, branch: str, files: Files, title: str) -> str:
        sha = hashlib.sha1(f"{self.name}{len(self.titles)}{title}".encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        self.titles.append((branch, title))
        return sha

    def at(self, revision: str) -> tuple[str, Files] | None:
        sha = self.branches.get(revision, revision)
        return (sha, self.commits[sha]) if sha in self.commits else None

    @property
    def main(self) -> Files:
        return self.commits[self.branches["main"]]


@dataclass
class Fault:
    """What happens to the requests whose 'METHOD path' matches, so many times (-1: always)."""

    match: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"error": "made to fail"}'
    times: int = 1
    cut: str = ""
    """`before`: the connection breaks while the body is sent; `after`: the work is done, its answer is lost; `hang`:
    nothing happens until the other side is gone."""


class HubServer(ThreadingHTTPServer):
    """The state, and what was asked of it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[tuple[str, str], Repo] = {}
        self.large: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.faults: list[Fault] = []
        self.log: list[str] = []
        self.lock = threading.RLock()
        self.hanging = threading.Event()
        self.lies: dict[str, str] = {}
        """Path -> sha256 that listings claim for it."""

        self.rotten: set[str] = set()
        """Paths whose bytes come back changed, while listings say that all is well."""

        self.writes = True
        self.keeps_gate = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fail(self, match: str, status: int = 0, **more: Any) -> None:
        self.faults.append(Fault(match, status, **more))

    def fault(self, asked: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and re.search(fault.match, asked):
                    fault.times -= 1
                    return fault
        return None

    def repo(self, name: str, kind: str = "dataset") -> Repo:
        return self.repos[kind, name]

    def make(self, name: str, kind: str = "dataset", *, private: bool = True, **files: bytes) -> Repo:
        """A repository as it is right after its creation, or with files of people."""
        repo = Repo(kind, name, private)
        start = {".gitattributes": Blob(b"*.parquet filter=lfs diff=lfs merge=lfs -text\n", False)}
        repo.commit("main", start, "initial commit")
        if files:
            repo.commit("main", start | {key: Blob(data, False) for key, data in files.items()}, "by hand")
        self.repos[kind, name] = repo
        return repo

    def count(self, match: str) -> int:
        return sum(bool(re.search(match, line)) for line in self.log)


@contextmanager
def hub() -> Iterator[HubServer]:
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class AnswerError(Exception):
    def __init__(self, status: int, body: Any = None, **headers: str) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body if body is not None else {"error": "no"}, headers


def missing(code: str) -> AnswerError:
    return AnswerError(404, {"error": code}, **{"X-Error-Code": code})


class Handler(BaseHTTPRequestHandler):
    server: HubServer

    def _serve(self) -> None:
        where = urlsplit(self.path)
        self.query = parse_qs(where.query)
        asked = f"{self.command} {unquote(where.path)}"
        self.server.log.append(asked)
        fault = self.server.fault(asked)
        if fault is not None and fault.cut == "before":
            self.rfile.read(min(1000, int(self.headers.get("Content-Length") or 1000)))
            self._cut()
            return
        self.body = self._read_body()
        if fault is not None and fault.cut == "hang":
            self.server.hanging.set()
            self.connection.settimeout(60)
            self.rfile.read(1)
            self._cut()
            return
        if fault is not None and not fault.cut:
            self._send(fault.status, fault.body, fault.headers)
            return
        try:
            with self.server.lock:
                status, body, headers = self._route(where.path)
        except AnswerError as error:
            status, body, headers = error.status, error.body, error.headers
        if fault is not None:
            self._cut()
            return
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {} if isinstance(body, bytes) else {"Content-Type": "application/json"}
        self._send(status, data, kind | headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        whole = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def _cut(self) -> None:
        """Reset the connection: the other side sees it break, not end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
        self.rfile.close()

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def finish(self) -> None:
        with suppress(OSError, ValueError):  # the connection was cut on purpose
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    # --- routes ----------------------------------------------------------------------------------------------------

    def _route(self, path: str) -> tuple[int, Any, dict[str, str]]:
        if path.startswith("/storage/"):
            return self._storage(path)
        token = self.headers.get("Authorization")
        if token is not None and token != f"Bearer {TOKEN}":
            raise AnswerError(
                401,
                {"error": f"Invalid credentials: {token}"},
                **{"X-Error-Message": "Invalid credentials in Authorization header"},
            )
        self.known = token is not None
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        if path == "/api/whoami-v2":
            if not self.known:
                raise AnswerError(401)
            return 200, {"type": "user", "name": "tester", "orgs": [{"name": "acme"}]}, {}
        if path == "/api/repos/create":
            return self._create()
        if found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            self._writer()
            return self._batch()
        if found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            repo = self._repo("dataset" if found[1] else "model", found[2])
            return self._resolve(repo, unquote(found[3]), unquote(found[4]))
        if found := re.fullmatch(r"/api/(dataset|model)s/([^/]+/[^/]+)(?:/([a-z-]+))?(?:/([^/]+))?(?:/(.*))?", path):
            repo = self._repo(found[1], found[2])
            revision = unquote(found[4] or "main")
            return self._of_repo(repo, found[3] or "revision", revision, unquote(found[5] or ""))
        raise AnswerError(404, {"error": f"no such route: {path}"})

    def _repo(self, kind: str, name: str) -> Repo:
        repo = self.server.repos.get((kind, name))
        if repo is None or (repo.private and not self.known):
            raise AnswerError(
                404 if self.known else 401,
                {"error": "Repository not found"},
                **{"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"},
            )
        return repo

    def _writer(self) -> None:
        if not (self.known and self.server.writes):
            raise AnswerError(403, {"error": f"no write access for {self.headers.get('Authorization')}"})

    def _create(self) -> tuple[int, Any, dict[str, str]]:
        self._writer()
        asked = json.loads(self.body)
        name, kind = f"{asked['organization']}/{asked['name']}", asked.get("type") or "model"
        url = f"{self.server.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
        if (kind, name) in self.server.repos:
            return 409, {"error": "You already created this repo", "url": url}, {}
        self.server.make(name, kind, private=asked.get("visibility") == "private")
        return 200, {"url": url, "name": name}, {}

    def _of_repo(self, repo: Repo, what: str, revision: str, rest: str) -> tuple[int, Any, dict[str, str]]:
        if what == "settings":
            self._writer()
            asked = json.loads(self.body)
            if self.server.keeps_gate:
                repo.gated = asked.get("gated", repo.gated)
            if "visibility" in asked:
                repo.private = asked["visibility"] == "private"
            return 200, {}, {}
        if what == "refs":
            refs = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": sha} for n, sha in repo.branches.items()]
            return 200, {"branches": refs, "converts": [], "tags": []}, {}
        if what == "branch":
            return self._branch(repo, revision)
        found = repo.at(revision)
        if found is None:
            raise missing("RevisionNotFound")
        sha, files = found
        if what == "revision":
            return 200, self._info(repo, sha, files), {}
        if what == "tree":
            return self._tree(files, rest)
        if what == "paths-info":
            wanted = parse_qs(self.body.decode()).get("paths", [])
            return 200, [self._entry(path, files[path]) for path in wanted if path in files], {}
        self._writer()
        if what == "preupload":
            return 200, {"files": [self._mode(each, files) for each in json.loads(self.body)["files"]]}, {}
        if what == "commit":
            return self._commit(repo, revision, sha, dict(files))
        raise AnswerError(404, {"error": f"no such route: {what}"})

    def _info(self, repo: Repo, sha: str, files: Files) -> dict[str, Any]:
        siblings = [{"rfilename": path} for path in sorted(files)]
        facts = {"id": repo.name, "sha": sha, "private": repo.private, "gated": repo.gated, "siblings": siblings}
        return facts | {"tags": [], "downloads": 0, "likes": 0, "disabled": False}

    def _branch(self, repo: Repo, name: str) -> tuple[int, Any, dict[str, str]]:
        self._writer()
        if self.command == "DELETE":
            if repo.branches.pop(name, None) is None:
                raise missing("RevisionNotFound")
            return 200, {}, {}
        if name in repo.branches:
            raise AnswerError(409, {"error": "Reference already exists"})
        found = repo.at(json.loads(self.body or b"{}").get("startingPoint", "main"))
        if found is None:
            raise missing("RevisionNotFound")
        repo.branches[name] = found[0]
        return 200, {}, {}

    def _entry(self, path: str, blob: Blob) -> dict[str, Any]:
        entry = blob.entry(path)
        if path.split("/")[0] in self.server.lies and blob.lfs:
            entry["lfs"]["oid"] = self.server.lies[path.split("/")[0]]
        return entry

    def _tree(self, files: Files, under: str) -> tuple[int, Any, dict[str, str]]:
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        prefix = f"{under.rstrip('/')}/" if under else ""
        entries: dict[str, dict[str, Any]] = {}
        for path, blob in sorted(files.items()):
            if not path.startswith(prefix):
                continue
            head, _, tail = path.removeprefix(prefix).partition("/")
            if tail:
                folder = prefix + head
                entries.setdefault(folder, {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0})
            if recursive or not tail:
                entries[path] = self._entry(path, blob)
        if under and not entries:
            raise missing("EntryNotFound")
        start = int(self.query.get("cursor", ["0"])[0])
        page = list(entries.values())[start : start + PAGE]
        more = {}
        if start + PAGE < len(entries):
            where = urlsplit(self.path).path
            again = f"{self.server.url}{where}?recursive={str(recursive).lower()}&cursor={start + PAGE}"
            more = {"Link": f'<{again}>; rel="next"'}
        return 200, page, more

    def _mode(self, asked: dict[str, Any], files: Files) -> dict[str, Any]:
        path = asked["path"]
        large = asked["size"] >= LFS_FROM or path.endswith(".parquet")
        oid = None
        if path in files:
            oid = files[path].sha256 if files[path].lfs else files[path].oid
        return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}

    def _batch(self) -> tuple[int, Any, dict[str, str]]:
        objects = []
        for each in json.loads(self.body)["objects"]:
            oid, size = each["oid"], each["size"]
            found: dict[str, Any] = {"oid": oid, "size": size}
            if oid not in self.server.large:
                storage = f"{self.server.url}/storage"
                upload: dict[str, Any] = {"href": f"{storage}/put/{oid}?X-Amz-Signature={SIGNATURE}"}
                if size > PART:
                    count = -(-size // PART)
                    urls = {
                        f"{n:05d}": f"{storage}/part/{oid}/{n}?X-Amz-Signature={SIGNATURE}" for n in range(1, count + 1)
                    }
                    upload = {"href": f"{storage}/complete/{oid}", "header": {"chunk_size": str(PART), **urls}}
                verify = {"href": f"{storage}/verify/{oid}"}
                found["actions"] = {"upload": upload, "verify": verify}
            objects.append(found)
        return 200, {"transfer": "multipart", "objects": objects}, {}

    def _storage(self, path: str) -> tuple[int, Any, dict[str, str]]:
        """As S3 behind signed URLs: the token is not asked for, what arrives must have the checksum it is named by."""
        _, _, what, oid, *rest = path.split("/")
        if what == "part":
            if self.query.get("X-Amz-Signature") != [SIGNATURE]:
                raise AnswerError(403)
            self.server.parts[oid, int(rest[0])] = self.body
            return 200, {}, {"ETag": f'"{oid[:8]}-{rest[0]}"'}
        if what == "verify":
            return (200 if oid in self.server.large else 404), {}, {}
        data = self.body
        if what == "complete":
            numbers = [part["partNumber"] for part in json.loads(self.body)["parts"]]
            data = b"".join(self.server.parts.pop((oid, number)) for number in numbers)
        if hashlib.sha256(data).hexdigest() != oid:
            raise AnswerError(400, {"error": "checksum mismatch"})
        self.server.large[oid] = data
        return 200, {}, {}

    def _commit(self, repo: Repo, branch: str, head: str, files: Files) -> tuple[int, Any, dict[str, str]]:
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, head):
            raise AnswerError(412, {"error": "A commit has happened since. Please refresh and try again."})
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.server.large:
                    raise AnswerError(400, {"error": f"{value['path']} was never uploaded"})
                files[value["path"]] = Blob(self.server.large[value["oid"]], True)
            elif line["key"] == "deletedFile" and files.pop(value["path"], None) is None:
                raise AnswerError(404, {"error": "A file with this name doesn't exist"})
        sha = repo.commit(branch, files, header["summary"])
        url = f"{self.server.url}/{'datasets/' if repo.kind == 'dataset' else ''}{repo.name}/commit/{sha}"
        return 200, {"success": True, "commitOid": sha, "commitUrl": url}, {}

    def _resolve(self, repo: Repo, revision: str, path: str) -> tuple[int, Any, dict[str, str]]:
        if repo.gated and not self.known:
            raise AnswerError(401, {"error": "gated"}, **{"X-Error-Code": "GatedRepo"})
        found = repo.at(revision)
        if found is None:
            raise missing("RevisionNotFound")
        sha, files = found
        if path not in files:
            raise missing("EntryNotFound")
        blob = files[path]
        data = blob.data
        if path.split("/")[0] in self.server.rotten:
            data = data[:100] + bytes([255 - data[100]]) + data[101:]
        etag = blob.sha256 if blob.lfs else blob.oid
        headers = {"X-Repo-Commit": sha, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if blob.lfs:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(data))}
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, stop = int(asked[1]), min(int(asked[2] or len(data)) + 1, len(data))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            return 206, data[start:stop], headers
        return 200, data, headers | {"Content-Length": str(len(data))}
