"""The check-list: what passes, what fails and how it is to be mended, one thing at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.commands.validate import main
from engine.config import GenerateConfig, PublishConfig, ValidateConfig
from engine.planning import plan_job
from engine.validation.check import Check, Context
from engine.validation.memory import GIB, fit, kv_bytes, short_of
from engine.validation.places import may_write
from pipelines.validation import asked, run
from tests.pipelines.conftest import folder_of

LINES = [{"image": "0.png", "text": f"What is sock {k}?"} for k in range(10)]


def checks(
    generate: GenerateConfig, validate: ValidateConfig | None = None, publish: PublishConfig | None = None
) -> dict[str, Check]:
    found = run(Context(generate, validate or ValidateConfig(offline=True, least_free_gb=0), publish))
    return {each.name: each for each in found}


def scripted(tmp_path: Path, **changes: Any) -> GenerateConfig:
    return GenerateConfig(**{"backend": "scripted", "out": str(tmp_path / "out"), **changes})


@pytest.mark.torch
def test_the_embedded_model_passes_everything(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    found = checks(scripted(tmp_path, backend="transformers"), ValidateConfig(gpu_memory=80, least_free_gb=0))
    assert [each for each in found.values() if each.state == "fail"] == []
    for name in ("model", "chat template", "yes and no", "GPU memory"):
        assert found[name].state == "pass", found[name]
    assert "takes pictures" in found["model"].found
    assert not (tmp_path / "out").exists()  # the probe leaves nothing


def test_one_failure_does_not_hide_the_next(tmp_path: Path) -> None:
    found = checks(
        GenerateConfig(queries="folder", path=str(tmp_path / "gone"), model="/no/model", backend="transformers")
    )
    assert found["source"].state == found["config"].state == "fail"
    assert "no such folder" in found["source"].found
    assert "/no/model" in found["config"].found or "gone" in found["config"].found
    assert found["output"].state == "skip"
    assert all(each.mend for each in found.values() if each.state in ("fail", "warn"))


def test_bad_rows_are_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", [*LINES, "{ broken", {"image": "gone.png", "text": "Where?"}])
    (folder / "3.png").write_bytes(b"no picture")
    lines = [*LINES, {"image": "3.png", "text": "What?"}, "{ broken"]
    (folder / "queries.jsonl").write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
    found = checks(scripted(tmp_path, queries="folder", path=str(folder)))
    assert found["rows"].state == "warn"
    assert "queries.jsonl:12" in found["rows"].found
    assert found["pictures"].state == "warn"
    assert "3.png" in found["pictures"].found
    mostly = checks(scripted(tmp_path, queries="folder", path=str(folder), max_error_rate=0.05))
    assert mostly["rows"].state == "fail"
    assert "breaker" in mostly["rows"].mend


def test_the_output_is_looked_at(tmp_path: Path) -> None:
    journal = tmp_path / "out/journal"
    journal.mkdir(parents=True)
    (journal / "run.json").write_text(
        json.dumps({"run_id": "old", "fingerprint": "x", "fields": {"model": "other"}, "started_at": "now"})
    )
    found = checks(scripted(tmp_path))
    assert found["run"].state == "fail"
    assert "model" in found["run"].found
    held = json.loads((journal / "run.json").read_text())
    held |= {"fingerprint": plan_job(scripted(tmp_path)).fingerprint, "source": {"path": "/a", "index_sha256": "1"}}
    (journal / "run.json").write_text(json.dumps(held))
    assert "holds the rows of /a" in checks(scripted(tmp_path))["run"].found
    (tmp_path / "file").write_text("")
    assert checks(scripted(tmp_path, out=str(tmp_path / "file/out")))["output"].state == "fail"
    assert checks(scripted(tmp_path, out=str(tmp_path / "new"), since_last=True))["lineage"].found == "a new lineage"
    full = checks(scripted(tmp_path, out=str(tmp_path / "new")), ValidateConfig(least_free_gb=1e9, offline=True))
    assert full["disk"].state == "fail"
    assert "--least-free-gb" in full["disk"].mend


def test_gpus_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    found = checks(scripted(tmp_path, gpus_per_worker=1, workers="999:1000"))
    assert found["Ray"].state == "fail"
    assert "GPU: 999 asked" in found["Ray"].found


def test_resources_as_numbers(tmp_path: Path) -> None:
    context = Context(scripted(tmp_path, workers="2:4", tensor_parallel=4), ValidateConfig())
    context.job = plan_job(context.generate)
    assert asked(context) == {"CPU": 2.0, "GPU": 8.0}
    assert short_of({"CPU": 2, "GPU": 8}, {"CPU": 64, "GPU": 4}) == {"GPU": (8, 4)}
    assert short_of({"CPU": 2}, {"CPU": 2}) == {}


def test_memory_of_known_models() -> None:
    """LLaVA-1.5-7B: 14.1 GB in bfloat16, 32 layers of 32 heads of 128: half a MiB a token."""
    config = {"text_config": {"num_hidden_layers": 32, "num_attention_heads": 32, "hidden_size": 4096}}
    kv = kv_bytes(config)
    assert kv == 512 * 1024
    weights = 14_100_000_000
    large = fit(weights, 24 * GIB, share=0.9, tensor_parallel=1, kv=kv, longest=4096)
    assert large.fits
    assert large.tokens > 4096
    assert not fit(weights, 16 * GIB, share=0.9, tensor_parallel=1, kv=kv, longest=4096).fits
    assert fit(weights, 16 * GIB, share=0.9, tensor_parallel=2, kv=kv, longest=4096).fits
    assert not fit(weights, 24 * GIB, share=0.9, tensor_parallel=1, kv=kv, longest=32768).fits
    assert kv_bytes({}) == 0
    grouped = {"num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "hidden_size": 3584}
    assert kv_bytes(grouped) == 2 * 28 * 4 * 128 * 2


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"data": [{"id": "org/model"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    found = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}/v1"
    found.shutdown()
    found.server_close()


def test_a_server_is_asked_for_its_models(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    online = ValidateConfig(least_free_gb=0)
    base = {"backend": "openai", "base_url": server, "model": "org/model"}
    assert checks(scripted(tmp_path, **base), online)["model"].state == "pass"
    other = checks(scripted(tmp_path, **{**base, "model": "org/other"}), online)["model"]
    assert other.state == "fail"
    assert "org/model" in other.found
    assert checks(scripted(tmp_path, **{**base, "base_url": "http://127.0.0.1:1/v1"}), online)["model"].state == "fail"
    monkeypatch.delenv("SOCK_KEY", raising=False)
    keyless = checks(scripted(tmp_path, **base, api_key_env="SOCK_KEY"), online)["model"]
    assert keyless.state == "fail"
    assert "export SOCK_KEY" in keyless.mend


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ({"name": "org", "auth": {"accessToken": {"role": "write"}}}, None),
        ({"name": "me", "orgs": [{"name": "org"}], "auth": {"accessToken": {"role": "write"}}}, None),
        ({"name": "me", "auth": {"accessToken": {"role": "write"}}}, "not in org"),
        ({"name": "org", "auth": {"accessToken": {"role": "read"}}}, "may only read"),
        ({"name": "org"}, "unknown"),
        (
            {"name": "org", "auth": {"accessToken": {"role": "fineGrained", "fineGrained": {"scoped": []}}}},
            "no repo.write",
        ),
        (
            {
                "name": "org",
                "auth": {
                    "accessToken": {
                        "role": "fineGrained",
                        "fineGrained": {"scoped": [{"entity": {"name": "org"}, "permissions": ["repo.write"]}]},
                    }
                },
            },
            None,
        ),
    ],
)
def test_what_a_token_may_do(who: dict[str, Any], expected: str | None) -> None:
    found = may_write(who, "org")
    assert found is None if expected is None else expected in str(found)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump({"generate": {"backend": "scripted", "out": str(tmp_path / "o")}}))
    assert main(["--config", str(file), "--offline", "--least-free-gb", "0"]) == 0
    assert "none failed" in capsys.readouterr().out
    assert main(["--config", str(file), "--split", "nowhere", "--offline", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert any(each["state"] == "fail" and each["mend"] for each in found)
    assert main(["--config", str(tmp_path / "none.yaml")]) == 2
