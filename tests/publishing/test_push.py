"""Pushing through the real client to a Hub of our own, with what goes wrong there: all or nothing, no secret told."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from engine.config import PublishConfig
from engine.errors import EcsoError, OutputError, UsageError
from engine.publishing.publish import publish, summary
from engine.publishing.push import STAGING
from tests.publishing.conftest import environment
from tests.publishing.server import SIGNATURE, TOKEN, Blob, Files, HubServer

MAIN, PAIRS = "acme/pies", "acme/pies-preference"
BOTH = PublishConfig(repo=MAIN, include_rejected=True, validation_share=0.3)
ALWAYS = -1


def names(files: Files) -> set[str]:
    return {path.split("-0000")[0] for path in files}


EVERYTHING = {".gitattributes", "README.md", "data/train", "data/validation", "ecso-report.png", "publication.json"}


def assert_whole(server: HubServer, *repos: str) -> None:
    for name in repos:
        assert names(server.repo(name).main) == EVERYTHING
        assert [branch for branch in server.repo(name).branches if branch != "main"] == []


def assert_untouched(server: HubServer, *repos: str) -> None:
    """No reader sees anything: the repository is not there, or as it was before."""
    for name in repos:
        if ("dataset", name) in server.repos:
            assert server.repo(name).titles[0] == ("main", "initial commit")
            assert [branch for branch, _ in server.repo(name).titles].count("main") == 1


def test_what_is_pushed(server: HubServer, run: Path, waits: list[float]) -> None:
    """Private; supervised rows in one repository, pairs in another that is gated before any file goes up."""
    done = publish(str(run), BOTH)
    assert_whole(server, MAIN, PAIRS)
    main, pairs = server.repo(MAIN), server.repo(PAIRS)
    assert (main.private, main.gated) == (True, False)
    assert (pairs.private, pairs.gated) == (True, "manual")
    gated = next(k for k, line in enumerate(server.log) if line == f"PUT /api/datasets/{PAIRS}/settings")
    assert gated < next(k for k, line in enumerate(server.log) if "preupload" in line)
    assert [branch for branch, _ in main.titles].count("main") == 2
    assert server.count("PUT /storage/part/.*/2$") == 5, "four shards and the picture go up in parts"
    assert waits == []
    assert all("pushed and read back" in line for line in summary(done))
    assert not any("rejected" in path for repo in (main, pairs) for files in repo.commits.values() for path in files)


def test_a_second_push_changes_nothing_and_a_change_replaces_only_what_is_ours(server: HubServer, run: Path) -> None:
    publish(str(run), BOTH)
    commits = len(server.repo(MAIN).titles)
    server.log.clear()
    assert all("is there already" in line for line in summary(publish(str(run), BOTH)))
    assert len(server.repo(MAIN).titles) == commits
    assert server.count("storage|commit") == 0
    server.repo(MAIN).commit("main", server.repo(MAIN).main | {"data/mine.parquet": Blob(b"x", True)}, "by hand")
    publish(str(run), replace(BOTH, validation_share=0.0))
    kept = {".gitattributes", "README.md", "data/train", "data/mine.parquet", "ecso-report.png", "publication.json"}
    assert names(server.repo(MAIN).main) == kept


class Case(NamedTuple):
    """A fault: how it is set, and the error that it ends in (None: it heals within the same run)."""

    name: str
    set: Callable[[HubServer], None]
    error: type[EcsoError] | None = None
    says: str = ""
    bytes: bool = False


def _closed(server: HubServer) -> None:
    server.writes = False


def _open_gate(server: HubServer) -> None:
    server.keeps_gate = False


def _lie(server: HubServer) -> None:
    server.lies["data"] = "0" * 64


def _rot(server: HubServer) -> None:
    server.rotten.add("data")


def _seen_late(server: HubServer) -> None:
    """The repository is there, but the first look says no: creating it answers 409."""
    server.make(MAIN)
    server.fail(f"GET /api/datasets/{MAIN}$", 404, headers={"X-Error-Code": "RepoNotFound"})


FAULTS = [
    Case("401 token refused", lambda s: s.fail("whoami", 401, times=ALWAYS), UsageError, "does not accept the token"),
    Case("403 no write access, token in the answer", _closed, UsageError, "may not do this"),
    Case("404 no such organisation", lambda s: s.fail("repos/create", 404, times=ALWAYS), UsageError, "not there"),
    Case("409 repository exists after all", _seen_late),
    Case("402 must pay", lambda s: s.fail("repos/create", 402, times=ALWAYS), OutputError, "HTTP 402"),
    Case("gating fails", lambda s: s.fail("PUT .*settings", 500, times=ALWAYS), OutputError, "gating"),
    Case("gating is not kept", _open_gate, OutputError, "is to be private and gated"),
    Case("429 with Retry-After", lambda s: s.fail("preupload", 429, headers={"Retry-After": "3"}, times=2)),
    Case("429 at the gate", lambda s: s.fail("settings", 429, headers={"Retry-After": "7"})),
    Case("503 in the batch", lambda s: s.fail("objects/batch", 503, times=2)),
    Case("500 in storage", lambda s: s.fail("PUT /storage", 500, times=3)),
    Case("500 in storage for good", lambda s: s.fail("PUT /storage", 500, times=ALWAYS), OutputError, "HTTP 500"),
    Case(
        "400 from storage: other bytes arrived",
        lambda s: s.fail("complete", 400, times=ALWAYS),
        OutputError,
        "HTTP 400",
    ),
    Case("connection cut in mid upload", lambda s: s.fail("PUT /storage", cut="before", times=2)),
    Case("cut for good", lambda s: s.fail("PUT /storage", cut="before", times=ALWAYS), OutputError, "connection"),
    Case("413 at staging", lambda s: s.fail(f"commit/{STAGING}", 413, times=ALWAYS), OutputError, "HTTP 413"),
    Case("502 at staging", lambda s: s.fail(f"commit/{STAGING}", 502)),
    Case("answer of staging lost", lambda s: s.fail(f"commit/{STAGING}", cut="after")),
    Case("another checksum in the listing", _lie, OutputError, "another size or checksum"),
    Case("other bytes come back", _rot, OutputError, "not what was pushed", bytes=True),
    Case("401 at the last step", lambda s: s.fail("commit/main", 401, times=ALWAYS), UsageError, "HTTP 401"),
    Case("500 at the last step", lambda s: s.fail("commit/main", 500)),
    Case("500 at the last step for good", lambda s: s.fail("commit/main", 500, times=ALWAYS), OutputError, "commit"),
    Case("cut in the commit", lambda s: s.fail("commit/main", cut="before")),
    Case("answer of the commit lost", lambda s: s.fail("commit/main", cut="after")),
    Case("branch cannot be removed", lambda s: s.fail("DELETE", 403, times=2)),
]


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case.name)
def test_faults(
    server: HubServer,
    run: Path,
    tmp_path: Path,
    case: Case,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It heals, or nothing is visible and the same command completes it later. Secrets are told to nobody."""
    caplog.set_level(logging.DEBUG)
    case.set(server)
    config = replace(BOTH, read_back="bytes" if case.bytes else "footers", out=str(tmp_path / "out"))
    said = ""
    if case.error is None:
        said = "\n".join(summary(publish(str(run), config, sleep=waits.append)))
    else:
        with pytest.raises(case.error, match=case.says) as caught:
            publish(str(run), config, sleep=waits.append)
        said = "".join(traceback.format_exception(caught.value))
        assert_untouched(server, MAIN, PAIRS)
        for made in (server.faults, server.lies, server.rotten):
            made.clear()
        server.writes = server.keeps_gate = True
        publish(str(run), config, sleep=waits.append)
    if case.name != "branch cannot be removed":
        assert_whole(server, MAIN, PAIRS)
    assert [branch for branch, _ in server.repo(MAIN).titles].count("main") == 2, "one commit shows it"
    told = said + caplog.text + "".join(capfd.readouterr())
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in (TOKEN, SIGNATURE):
        assert secret not in told
        assert secret.encode() not in files


def test_the_server_says_how_long_to_wait(server: HubServer, run: Path, waits: list[float]) -> None:
    server.fail("commit/main", 429, headers={"Retry-After": "7"})
    publish(str(run), BOTH, sleep=waits.append)
    assert waits == [7.0]


def test_pairs_may_come_later_but_never_half(server: HubServer, run: Path) -> None:
    """The first repository is shown whole, the second not at all; the next run adds it."""
    server.fail(f"{PAIRS}/commit/main", 500, times=ALWAYS)
    with pytest.raises(OutputError):
        publish(str(run), BOTH, sleep=lambda _: None)
    assert_whole(server, MAIN)
    assert_untouched(server, PAIRS)
    server.faults.clear()
    server.log.clear()
    publish(str(run), BOTH)
    assert_whole(server, MAIN, PAIRS)
    assert server.count("/storage/p") == 0, "nothing is sent again"


def test_a_broken_upload_goes_on_where_it_stopped(server: HubServer, run: Path) -> None:
    config = replace(BOTH, include_rejected=False)
    server.fail("/storage/complete", 403, times=1)
    with pytest.raises(UsageError):
        publish(str(run), config, sleep=lambda _: None)
    assert len(server.large) >= 1
    there = len(server.large)
    server.log.clear()
    publish(str(run), config)
    assert server.count("/storage/complete") + server.count("/storage/put") == 3 - there, "README and json are small"


def test_somebody_else_commits_meanwhile(server: HubServer, run: Path) -> None:
    """The last step is refused, theirs stays, and the next run goes on top of it."""
    repo = server.make(MAIN)
    before = server.fault

    def meddle(asked: str) -> object:
        if asked.endswith("commit/main") and "notes.txt" not in repo.main:
            repo.commit("main", repo.main | {"notes.txt": Blob(b"theirs", False)}, "theirs")
        return before(asked)

    server.fault = meddle  # type: ignore[method-assign, assignment]
    config = replace(BOTH, include_rejected=False)
    with pytest.raises(OutputError, match="changed in the meantime"):
        publish(str(run), config)
    assert names(repo.main) == {".gitattributes", "notes.txt"}
    publish(str(run), config)
    assert names(repo.main) == EVERYTHING | {"notes.txt"}


def test_a_public_repository_is_not_filled_by_accident(server: HubServer, run: Path) -> None:
    server.make(MAIN, private=False)
    with pytest.raises(UsageError, match="is public; pass --public"):
        publish(str(run), BOTH)
    assert server.count("preupload|create|settings") == 0
    publish(str(run), replace(BOTH, public=True))
    assert server.repo(PAIRS).private
    assert server.repo(PAIRS).gated == "manual"


def test_an_existing_card_is_merged(server: HubServer, run: Path) -> None:
    theirs = b"---\nlicense: cc-by-4.0\nmine: 1\ntags: [garden]\n---\n# My garden\n\nPlease read this.\n"
    server.make(MAIN, **{"README.md": theirs})
    done = publish(str(run), replace(BOTH, include_rejected=False))
    card = server.repo(MAIN).main["README.md"].data.decode()
    assert "# My garden\n\nPlease read this.\n" in card
    assert "mine: 1" in card
    assert "license: cc-by-4.0" in card
    assert "- garden\n- ecso-engine" in card
    assert any("license: cc-by-4.0, which was kept" in note for note in done.notes)


@pytest.mark.kill
@pytest.mark.parametrize("step", ["PUT /storage", "commit/main"])
def test_a_killed_publish_shows_nothing_and_goes_on(server: HubServer, run: Path, tmp_path: Path, step: str) -> None:
    """SIGKILL in the middle of a step: `main` is as it was, and the same command completes it."""
    server.fail(step, cut="hang")
    command = [sys.executable, "-m", "engine.publish", str(run), "--repo", MAIN, "--validation-share", "0.3"]
    with subprocess.Popen(command, env=environment(server, tmp_path / "home"), stderr=subprocess.DEVNULL) as process:
        assert server.hanging.wait(100)
        process.kill()
    assert_untouched(server, MAIN)
    server.faults.clear()
    server.log.clear()
    publish(str(run), replace(BOTH, include_rejected=False))
    assert_whole(server, MAIN)
    if step == "commit/main":
        assert server.count("/storage/p") == 0, "everything was there"


def test_the_command_tells_no_secret(server: HubServer, run: Path, tmp_path: Path) -> None:
    """As a process of its own, with the client's debug log on, against a server that repeats the token."""
    server.writes = False
    command = [sys.executable, "-m", "engine.publish", str(run), "--repo", MAIN, "--out", str(tmp_path / "out")]
    home = environment(server, tmp_path / "home", HF_DEBUG="1", HF_HUB_VERBOSITY="debug")
    refused = subprocess.run(command, env=home, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "the token may not do this" in refused.stderr
    server.writes = True
    done = subprocess.run(command, env=home, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "pushed and read back" in done.stdout
    assert "curl" in done.stderr, "the debug log was really on"
    told = refused.stdout + refused.stderr + done.stdout + done.stderr
    assert TOKEN not in told
    assert SIGNATURE not in told
    for path in [*run.rglob("*"), *(tmp_path / "out").rglob("*")]:
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()
        assert path.suffix != ".parquet" or TOKEN not in str(pq.read_table(path).to_pylist())


def test_offline_it_says_so_at_once(server: HubServer, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE is set"):
        publish(str(run), BOTH)
    assert server.log == []


def test_without_a_token_it_says_so(monkeypatch: pytest.MonkeyPatch, run: Path, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="no token: set HF_TOKEN"):
        publish(str(run), BOTH)
