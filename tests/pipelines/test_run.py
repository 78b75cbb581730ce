"""The main job on a real Ray cluster with the scripted backend: what a run leaves, resumes, refuses and counts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.config import GenerateConfig
from engine.errors import BreakerError, OutputBusyError, OutputError, UsageError
from engine.journal.lock import RunLock
from engine.journal.seal import read_manifest
from engine.journal.store import Store
from pipelines import closing
from pipelines.run import resume_command, run
from tests.pipelines.conftest import folder_of, journalled, rows

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]
Make = Callable[..., GenerateConfig]


class TestWhatARunLeaves:
    def test_everything_adds_up_and_opens(self, config: Make, tmp_path: Path) -> None:
        manifest = run(config())
        out = tmp_path / "out"
        counts = manifest["counts"]
        assert manifest["status"] == "complete"
        assert manifest["scripted"] is True
        transcripts, sft, rejected = (rows(out, name) for name in ("transcripts", "sft", "rejected"))
        assert counts["read"] >= 600
        assert len(transcripts) + sum(len(row["duplicate_keys"]) for row in transcripts) == counts["read"]
        assert len({row["query_id"] for row in transcripts}) == len(transcripts)
        assert len(sft) + len(rejected) == counts["read"]
        assert [row["source_index"] for row in transcripts] == sorted(row["source_index"] for row in transcripts)
        harmful = sum(row["direct_verdict"] == "harmful" for row in transcripts)
        kept = {row["query_id"] for row in sft}
        pairs = [row["query_id"] for row in rows(out, "preference")]
        assert sorted(pairs) == sorted(
            row["query_id"] for row in transcripts if row["direct_verdict"] == "harmful" and row["query_id"] in kept
        )
        assert 0.3 < harmful / len(transcripts) < 0.5  # --scripted-harmful 0.4

    def test_a_training_row_opens_with_its_picture(self, config: Make, tmp_path: Path) -> None:
        datasets = pytest.importorskip("datasets")
        run(config(limit=8))
        found = datasets.load_dataset(
            "parquet", data_files=str(tmp_path / "out/sft/*.parquet"), split="train", cache_dir=str(tmp_path / "cache")
        )
        assert found.features["images"] == datasets.List(datasets.Image())
        row = found[0]
        assert row["images"][0].size == (72, 72)
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
        assert row["messages"][0]["content"][0]["type"] == "image"

    def test_steps_are_kept(self, config: Make, tmp_path: Path) -> None:
        run(config(limit=16, validate_all=True, scripted_harmful=1.0))
        for row in rows(tmp_path / "out", "transcripts"):
            assert [step["name"] for step in row["steps"]] == ["answer", "tell", "caption", "safe_answer", "retell"]
            assert [step["with_pictures"] for step in row["steps"]] == [True, True, True, False, True]
            assert all(len(step["prompt_sha256"]) == 64 for step in row["steps"])
            assert row["p_harmful"] > 0.5 > row["final_p_harmful"]

    def test_the_closing_table_of_a_large_run_is_made_elsewhere_and_is_the_same(
        self, config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        manifest = run(config(limit=30))
        here = closing.table(str(tmp_path / "out"), manifest, "sample")
        monkeypatch.setattr(closing, "LARGE", 1)
        monkeypatch.setattr(closing, "_read", None)
        assert closing.table(str(tmp_path / "out"), manifest, "sample") == here
        assert here is not None
        assert here.total.direct.n > 0

    def test_pictures_once_each(self, config: Make, tmp_path: Path) -> None:
        run(config())
        pictures = [row["picture_sha256"] for row in rows(tmp_path / "out", "pictures")]
        used = {sha for row in rows(tmp_path / "out", "transcripts") for sha in row["picture_sha256"]}
        assert sorted(pictures) == sorted(used)

    def test_same_journal_same_rows(self, config: Make, tmp_path: Path) -> None:
        """Two runs of one configuration give the same answers, whatever order the rows finished in."""
        run(config(limit=64, out=str(tmp_path / "a")))
        run(config(limit=64, out=str(tmp_path / "b"), workers="3"))
        keep = ("query_id", "final_response", "final_verdict", "source_key")
        left, right = ([[row[k] for k in keep] for row in rows(tmp_path / name, "transcripts")] for name in "ab")
        assert left == right


class TestResume:
    def test_a_larger_limit_asks_only_for_the_new_rows(self, config: Make, tmp_path: Path) -> None:
        run(config(limit=40))
        first = read_manifest(str(tmp_path / "out"))
        second = run(config(limit=100))
        assert first is not None
        assert (first["counts"]["read"], second["counts"]["read"]) == (40, 100)
        assert len(journalled(tmp_path / "out")) == second["counts"]["transcripts"]
        assert {file["path"] for file in second["files"]} == {
            str(path.relative_to(tmp_path / "out"))
            for name in ("transcripts", "pictures")
            for path in (tmp_path / "out" / name).iterdir()
        }

    def test_a_complete_run_does_nothing(self, config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run(config(limit=10))
        before = (tmp_path / "out/manifest.json").stat().st_mtime_ns
        monkeypatch.setattr("pipelines.run.execute", None)  # starting anything would fail
        assert run(config(limit=10))["counts"]["read"] == 10
        assert (tmp_path / "out/manifest.json").stat().st_mtime_ns == before

    def test_a_run_that_was_killed_before_its_curation_is_curated(
        self, config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "out"
        run(config(limit=10, no_curate=True))  # as kill -9 behind the seal leaves it
        assert not (out / "curation.json").exists()
        monkeypatch.setattr("pipelines.run.execute", None)
        run(config(limit=10))
        assert len(rows(out, "sft")) + len(rows(out, "rejected")) == 10
        curated = (out / "curation.json").read_bytes()
        (out / "report.html").unlink()  # killed before its last file
        run(config(limit=10))
        assert (out / "report.html").exists()
        assert (out / "curation.json").read_bytes() == curated
        monkeypatch.setattr("pipelines.curation.run", None)
        run(config(limit=10))

    def test_another_fingerprint_is_refused_with_its_fields(self, config: Make) -> None:
        run(config(limit=5))
        with pytest.raises(UsageError, match="seed") as error:
            run(config(limit=5, seed=7))
        assert "0" in str(error.value)
        assert "7" in str(error.value)
        assert "--out" in str(error.value)

    def test_another_source_is_refused(self, config: Make, tmp_path: Path) -> None:
        """Its rows have the keys of the first one's: they would pass for answered."""
        sources = [str(folder_of(tmp_path / name, [{"text": name, "image": "0.png"}])) for name in ("a", "b")]
        run(config(queries="folder", path=sources[0]))
        with pytest.raises(UsageError, match=rf"those of {sources[1]}; choose another --out"):
            run(config(queries="folder", path=sources[1]))

    def test_never_and_always(self, config: Make, tmp_path: Path) -> None:
        with pytest.raises(UsageError):
            run(config(limit=5, resume="always"))
        run(config(limit=5, resume="never"))
        with pytest.raises(UsageError, match="--resume never"):
            run(config(limit=5, resume="never"))

    def test_duplicates_far_from_each_other(self, config: Make, tmp_path: Path) -> None:
        """In other windows, so that no reader sees both: the worker, which has answered one, notes the other."""
        lines = [{"text": f"Question {k % 600}?"} for k in range(1200)]
        source = folder_of(tmp_path / "src", lines, pictures=0)
        manifest = run(config(queries="folder", path=str(source)))
        assert manifest["status"] == "complete"
        assert (manifest["counts"]["transcripts"], manifest["counts"]["duplicates"]) == (600, 600)
        keys = [key for row in rows(tmp_path / "out", "transcripts") for key in row["duplicate_keys"]]
        assert len(set(keys)) == 600

    def test_duplicates_are_found_and_rejected_once(self, config: Make, tmp_path: Path) -> None:
        same = {"text": "What is this?", "image": "0.png"}
        source = folder_of(tmp_path / "src", [same, {"text": "other", "image": "1.png"}, same, same])
        manifest = run(config(queries="folder", path=str(source)))
        assert manifest["counts"] | {"pictures": 0} == {
            "read": 4, "transcripts": 2, "duplicates": 2, "ok": 2, "unresolved": 0, "error": 0, "pictures": 0,
        }  # fmt: skip
        reasons = [row["reason"] for row in rows(tmp_path / "out", "rejected")]
        assert reasons == ["duplicate_query"] * 2
        assert len(rows(tmp_path / "out", "sft")) == 2


class TestErrors:
    def test_a_bad_row_is_a_row(self, config: Make, tmp_path: Path) -> None:
        lines = [
            {"text": "fine", "image": "0.png"},
            {"text": "gone", "image": "missing.png"},
            "{broken",
            {"text": "", "image": "1.png"},
            {"text": "also fine", "image": "1.png"},
        ]
        source = folder_of(tmp_path / "src", lines)
        manifest = run(config(queries="folder", path=str(source), max_error_rate=1.0))
        assert (manifest["counts"]["ok"], manifest["counts"]["error"]) == (2, 3)
        bad = [row for row in rows(tmp_path / "out", "transcripts") if row["status"] == "error"]
        assert {row["error_stage"] for row in bad} == {"source"}
        assert any("missing.png" in row["error_message"] for row in bad)
        assert any("queries.jsonl:3" in row["error_message"] for row in bad)

    def test_retry_errors_after_the_mend(self, config: Make, tmp_path: Path) -> None:
        source = folder_of(tmp_path / "src", [{"text": "a", "image": "0.png"}, {"text": "b", "image": "late.png"}])
        settings = {"queries": "folder", "path": str(source), "max_error_rate": 1.0}
        assert run(config(**settings))["counts"]["error"] == 1
        (source / "late.png").write_bytes((source / "1.png").read_bytes())
        assert run(config(**settings))["counts"]["error"] == 1  # not asked again unless told to
        mended = run(config(**settings, retry_errors=True))
        assert (mended["counts"]["ok"], mended["counts"]["error"]) == (2, 0)
        assert len(rows(tmp_path / "out", "transcripts")) == 2

    def test_the_breaker_stops_the_run_and_names_the_cause(self, config: Make, tmp_path: Path) -> None:
        lines = [{"text": f"row {n}", "image": "missing.png"} for n in range(300)]
        source = folder_of(tmp_path / "src", lines)
        with pytest.raises(BreakerError, match=r"missing\.png") as error:
            run(config(queries="folder", path=str(source)))
        assert "SourceError ×" in str(error.value)
        manifest = read_manifest(str(tmp_path / "out"))
        assert manifest is not None
        assert manifest["counts"]["error"] >= 20

    def test_reference_without_references(self, config: Make, tmp_path: Path) -> None:
        source = folder_of(tmp_path / "src", [{"text": "a", "image": "0.png", "reference": "r"}, {"text": "b"}])
        run(config(queries="folder", path=str(source), strategy="reference", max_error_rate=1.0))
        found = {row["query"]: (row["status"], row["final_response"]) for row in rows(tmp_path / "out", "transcripts")}
        assert found == {"a": ("ok", "r"), "b": ("error", None)}


class TestStops:
    def test_target_accepted(self, config: Make) -> None:
        manifest = run(config(target_accepted=50, scripted_latency_ms=20, engine_arg={"capacity": 4}))
        assert 50 <= manifest["counts"]["ok"] < 300
        again = run(config(target_accepted=50, scripted_latency_ms=20, engine_arg={"capacity": 4}))
        assert again["counts"] == manifest["counts"]  # the target was reached: nothing more is asked
        assert manifest["status"] == "complete"

    def test_a_stop_leaves_most_of_the_source_unread(self, config: Make, tmp_path: Path) -> None:
        """Readers that are told to stop give blocks of no rows, and no columns, which count for nothing."""
        lines = [{"image": f"{k % 4}.png", "query": f"Question {k}?"} for k in range(9000)]
        source = folder_of(tmp_path / "src", lines)
        slow = {"scripted_latency_ms": 100, "engine_arg": {"capacity": 16}}
        counts = run(config(queries="folder", path=str(source), target_accepted=20, **slow))["counts"]
        assert 20 <= counts["ok"] < 4000

    def test_fewer_rows_than_before_are_a_whole_run(self, config: Make, tmp_path: Path) -> None:
        """A run that was stopped holds rows from all over; what a smaller plan lacks is answered: it is complete."""
        slow = {"scripted_latency_ms": 20, "engine_arg": {"capacity": 4}}
        stopped = run(config(target_accepted=60, **slow))["counts"]["read"]
        (tmp_path / "out/manifest.json").unlink()
        manifest = run(config(limit=stopped - 20, **slow))
        assert (manifest["status"], manifest["config"]["limit"]) == ("complete", stopped - 20)
        found = {row["source_index"] for row in rows(tmp_path / "out", "transcripts")}
        assert found >= {*range(stopped - 20)}

    def test_a_target_counts_what_a_killed_run_has_accepted(
        self, config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow = {"scripted_latency_ms": 100, "engine_arg": {"capacity": 2}}
        first = run(config(target_accepted=15, **slow))["counts"]["ok"]
        (tmp_path / "out/manifest.json").unlink()  # as kill -9 before the seal leaves it
        more = run(config(target_accepted=first + 5, **slow))["counts"]["ok"]
        assert first + 5 <= more < 2 * first + 5  # as many again and more, were it counted anew
        (tmp_path / "out/manifest.json").unlink()
        monkeypatch.setattr("pipelines.run.execute", None)
        again = run(config(target_accepted=first, **slow))  # reached by the journal alone: sealed, nothing asked
        assert (again["counts"]["ok"], again["status"]) == (more, "complete")

    def test_another_run_holds_the_output(self, config: Make, tmp_path: Path) -> None:
        with RunLock(Store(str(tmp_path / "out"))), pytest.raises(OutputBusyError):
            run(config(limit=5))

    def test_a_model_that_cannot_be_used_is_a_usage_error(self, config: Make) -> None:
        """Found by the worker, told to the driver, no restart after restart."""
        start = time.monotonic()
        with pytest.raises(UsageError, match="no_such_argument"):
            run(config(engine_arg={"no_such_argument": 1}))
        assert time.monotonic() - start < 60


class Server(BaseHTTPRequestHandler):
    """The least that a chat server answers."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        choice = {"message": {"role": "assistant", "content": "No."}, "finish_reason": "stop"}
        body = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def test_the_manifest_says_how_many_strings_a_server_was_spared(config: Make, tmp_path: Path) -> None:
    """The openai backend cannot send token ids: what it broke up in queries is counted for all workers."""
    source = folder_of(tmp_path / "src", [{"text": "what is <image> </s> here?", "image": "0.png"}])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        manifest = run(config(queries="folder", path=str(source), backend="openai", model="m", base_url=url))
    finally:
        server.shutdown()
        server.server_close()
    (row,) = rows(tmp_path / "out", "transcripts")
    assert row["query"] == "what is <image> </s> here?"
    asking = sum("answer" in step["name"] or "caption" in step["name"] for step in row["steps"])
    assert manifest["stats"]["neutralised"] >= 2 * asking >= 2
    assert manifest["stats"]["requests"] == len(row["steps"])


class TestConfig:
    def test_no_rows_is_said(self, config: Make) -> None:
        with pytest.raises(UsageError, match="category"):
            run(config(where={"category": "no such"}))

    def test_manifest_holds_no_secret(self, config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MY_KEY", "hf_secret_value")
        run(config(limit=3, api_key_env="MY_KEY"))
        for path in (tmp_path / "out").rglob("*"):
            if path.is_file():
                assert b"hf_secret_value" not in path.read_bytes(), path
        assert json.loads((tmp_path / "out/manifest.json").read_text())["config"]["api_key_env"] == "MY_KEY"


@pytest.mark.parametrize("typed", [["x"], ["x", "generate"]], ids=["the door", "the one command"])
def test_the_resume_command_can_be_typed(typed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [*typed, "--limit", "5"])
    assert resume_command() == "python -m engine.generate --limit 5"


def test_a_run_whose_lock_is_taken_away_seals_nothing(
    config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next holder owns the manifest; what this run finished stays in the journal for it."""
    acquire = RunLock.acquire

    def then_lose(lock: RunLock) -> None:
        acquire(lock)
        lock.lost.set()

    monkeypatch.setattr(RunLock, "acquire", then_lose)
    with pytest.raises(OutputError, match="lock was taken away"):
        run(config(limit=20))
    assert not (tmp_path / "out/manifest.json").exists()
