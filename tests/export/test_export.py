"""The command, the reading of sealed sets, harmful rows, and the export folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import schemas
from engine.commands.export import main
from engine.errors import OutputError, UsageError
from engine.export import FORMATS
from engine.export.export import ExportConfig, export, summary
from engine.export.output import Output
from tests.export import make
from tests.export.make import Ask

MAIN_FILE = {"llava": "llava.json", "llamafactory": "sft.json", "swift": "sft.jsonl"}


def run(curated: Path, name: str, out: Path, **more: Any) -> dict[str, Any]:
    return export(ExportConfig(str(curated), name, str(out), **more))


def change(curated: Path, **fields: Any) -> None:
    seal = curated / "curation.json"
    seal.write_text(json.dumps(json.loads(seal.read_text()) | fields))


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """Every file but the seal, which names the output folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "export.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", FORMATS)
def test_the_command_writes_and_seals(
    name: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(made), "--format", name, "--out", str(tmp_path / "out")]) == 0
    seal = json.loads((tmp_path / "out/export.json").read_text())
    assert seal["status"] == "complete"
    assert seal["files"]
    said = capsys.readouterr().out
    assert "harmful text" in said
    assert all(f"{file['rows']:,} rows" in said for file in seal["files"] if file["rows"])


@pytest.mark.parametrize("name", FORMATS)
def test_twice_gives_the_same_bytes(name: str, made: Path, utility: Path, tmp_path: Path) -> None:
    mix: dict[str, Any] = {} if name == "trl-dpo" else {"mix": str(utility), "mix_rows": 5}
    run(made, name, tmp_path / "out", **mix)
    first = folder_bytes(tmp_path / "out")
    run(made, name, tmp_path / "out", **mix)
    assert folder_bytes(tmp_path / "out") == first


@pytest.mark.parametrize("name", ["trl", "llava", "llamafactory", "swift"])
def test_harmful_rows_stay_out_of_supervised_files(name: str, tmp_path: Path) -> None:
    curated = make.curated(tmp_path / "in", harmful=(0, 4))
    document = run(curated, name, tmp_path / "out")
    assert document["counts"]["left out: harmful text in sft/"] == 2
    assert document["counts"]["sft"] == len(make.ROWS) - 2
    for path in (tmp_path / "out").rglob("*"):
        if path.name == MAIN_FILE.get(name) or path.suffix == ".parquet":
            data = path.read_bytes()
            assert make.ROWS[0].response.encode() not in data
            assert b"from the roof" not in data, "a rejected answer in a supervised file"


def test_stdout_says_where_harmful_text_is(made: Path, tmp_path: Path) -> None:
    for name in FORMATS:
        said = "\n".join(summary(run(made, name, tmp_path / name)))
        harmful = name not in ("trl", "llava")
        assert ("2 pairs hold harmful text" in said) == harmful, name
        assert ("preference formats only" in said) != harmful, name


def test_formats_with_pairs(made: Path, tmp_path: Path) -> None:
    run(made, "swift", tmp_path / "swift")
    run(made, "llamafactory", tmp_path / "lf")
    swift = [json.loads(line) for line in (tmp_path / "swift/dpo.jsonl").read_text("utf-8").splitlines()]
    ranking = json.loads((tmp_path / "lf/ranking.json").read_text("utf-8"))
    wanted = [ask for ask in make.ROWS if ask.rejected]
    assert [row["messages"][-1]["content"] for row in swift] == [ask.response for ask in wanted]
    assert [row["chosen"]["value"] for row in ranking] == [ask.response for ask in wanted]
    assert [row["rejected"]["value"] for row in ranking] == [row["rejected_response"] for row in swift]
    for row in swift:
        assert all(Path(image).is_file() for image in row["images"])
        assert sum(turn["content"].count("<image>") for turn in row["messages"]) == len(row["images"])
    info = json.loads((tmp_path / "lf/dataset_info.json").read_text())
    assert info["ecso_ranking"]["ranking"] is True
    assert {entry["file_name"] for entry in info.values()} == {"sft.json", "ranking.json"}


@pytest.mark.parametrize("name", ["trl-dpo", "trl-kto", "swift", "llamafactory"])
def test_a_pair_of_equal_answers_is_left_out(name: str, tmp_path: Path) -> None:
    rows = [*make.ROWS[:2], Ask((4,), "Same?", "No.", "No.", "over_refusal")]
    document = run(make.curated(tmp_path / "in", rows), name, tmp_path / "out")
    assert document["counts"]["left out: chosen is rejected"] == 1
    assert document["counts"]["preference"] == 1


def test_columns_more_or_fewer_do_not_matter(made: Path, tmp_path: Path) -> None:
    more = {"contrast_pair": pa.string(), "refusal": pa.bool_(), "later": pa.int64()}
    run(made, "trl", tmp_path / "plain")
    for number, curated in enumerate(
        (
            make.curated(tmp_path / "more", more=more),
            make.curated(tmp_path / "fewer", without=("messages", "prompt_set_sha256", "contrast_pair", "refusal")),
        )
    ):
        document = run(curated, "trl", tmp_path / f"out{number}")
        assert folder_bytes(tmp_path / f"out{number}") == folder_bytes(tmp_path / "plain")
        assert document["counts"]["sft"] == len(make.ROWS)


def test_a_column_that_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no column response"):
        run(make.curated(tmp_path / "in", without=("response",)), "llava", tmp_path / "out")


class TestInput:
    """What is no sealed, whole curated set is refused before anything is written."""

    @pytest.mark.parametrize("name", FORMATS)
    def test_unsealed(self, name: str, tmp_path: Path) -> None:
        curated = make.curated(tmp_path / "in")
        (curated / "curation.json").unlink()
        with pytest.raises(UsageError, match="not a curated set"):
            run(curated, name, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("name", FORMATS)
    def test_a_shard_that_is_not_the_sealed_one(self, name: str, tmp_path: Path) -> None:
        curated = make.curated(tmp_path / "in")
        for shard in curated.glob("*/*.parquet"):
            data = bytearray(shard.read_bytes())
            data[len(data) // 2] ^= 1
            shard.write_bytes(bytes(data))
        with pytest.raises(UsageError, match=r"sha256 is .*, curation.json says"):
            run(curated, name, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("name", FORMATS)
    def test_no_rows(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no rows in"):
            run(make.curated(tmp_path / "in", []), name, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_no_pairs(self, tmp_path: Path) -> None:
        curated = make.curated(tmp_path / "in", make.ROWS[:1])
        with pytest.raises(UsageError, match="no rows in preference/"):
            run(curated, "trl-dpo", tmp_path / "dpo")
        assert "every label is true" in run(curated, "trl-kto", tmp_path / "kto")["notes"][0]
        run(curated, "llamafactory", tmp_path / "lf")
        assert list(json.loads((tmp_path / "lf/dataset_info.json").read_text())) == ["ecso_sft"]

    def test_a_missing_shard(self, tmp_path: Path) -> None:
        curated = make.curated(tmp_path / "in")
        next(curated.glob("sft/*.parquet")).unlink()
        with pytest.raises(UsageError, match="but missing"):
            run(curated, "trl", tmp_path / "out")

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"schema_version": 999}, "schema version 999"),
            ({"kind": "generate"}, "kind"),
            ({"files": [{"path": "../x.parquet", "rows": 1, "sha256": "0" * 64}]}, "damaged"),
            ({"runs": [{"run_id": "r", "manifest_sha256": "0" * 64, "status": "partial"}]}, "--allow-partial"),
        ],
    )
    def test_seals(self, fields: dict[str, Any], words: str, tmp_path: Path) -> None:
        curated = make.curated(tmp_path / "in")
        change(curated, **fields)
        with pytest.raises(UsageError, match=words):
            run(curated, "trl", tmp_path / "out")

    def test_a_seal_that_is_no_json(self, tmp_path: Path) -> None:
        curated = make.curated(tmp_path / "in")
        (curated / "curation.json").write_text('{"kind":')
        with pytest.raises(UsageError, match="damaged"):
            run(curated, "trl", tmp_path / "out")

    def test_partial_when_allowed(self, tmp_path: Path) -> None:
        curated = make.curated(tmp_path / "in", status="partial")
        assert run(curated, "trl", tmp_path / "out", allow_partial=True)["counts"]["sft"] == len(make.ROWS)


class TestFlags:
    """Exit code 2 and a message that says what to do."""

    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            (["--format", "lava"], "did you mean llava?"),
            (["--format", "trl", "--mix", "x.json"], "go together"),
            (["--format", "trl", "--mix-rows", "3"], "go together"),
            (["--format", "trl", "--mix", "x.json", "--mix-rows", "3"], "x.json: not there"),
            (["--format", "trl-dpo", "--mix", "x.json", "--mix-rows", "3"], "no rejected answer"),
            (["--format", "swift", "--two-turn"], "a form of llava"),
        ],
    )
    def test_refused(
        self, flags: list[str], words: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([str(made), *flags, "--out", str(tmp_path / "out")]) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("inside", ["", "sft", "preference/x", "pictures"])
    def test_never_into_the_curated_set(self, inside: str, made: Path) -> None:
        before = folder_bytes(made)
        with pytest.raises(UsageError, match="inside the curated set"):
            run(made, "trl", made / inside)
        assert folder_bytes(made) == before

    def test_the_doors(self, made: Path, tmp_path: Path) -> None:
        for number, door in enumerate((["engine", "export"], ["engine.export"])):
            command = [
                sys.executable,
                "-m",
                *door,
                str(made),
                "--format",
                "llava",
                "--out",
                str(tmp_path / str(number)),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            assert "llava.json: 8 rows" in done.stdout


class TestFolder:
    """The export folder is only ever ours, and says when it is unfinished."""

    def test_other_files_are_never_touched(self, made: Path, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("words")
        with pytest.raises(UsageError, match="holds other files"):
            run(made, "trl", tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_another_format_replaces_the_former_one(self, made: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        run(made, "llava", out)
        (out / "notes.txt").write_text("mine")
        run(made, "trl", out)
        assert sorted(folder_bytes(out)) == [*(str(p.relative_to(out)) for p in out.glob("data/*")), "notes.txt"]

    def test_an_export_that_broke_off(self, tmp_path: Path) -> None:
        """Half of a surrogate pair in row 3: the error names it, the seal says `writing`, the next try replaces all."""
        out = Output(str(tmp_path / "out"))
        with pytest.raises(OutputError, match="row 3: its text is no Unicode"):
            _broken(out)
        left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
        assert len(left) == 2, left
        assert json.loads((tmp_path / "out/export.json").read_text())["status"] == "writing"
        curated = make.curated(tmp_path / "in", make.ROWS[5:6])
        run(curated, "swift", tmp_path / "out")
        assert list(folder_bytes(tmp_path / "out")) == ["sft.jsonl"]

    def test_bad_input_leaves_a_former_export_alone(self, made: Path, tmp_path: Path) -> None:
        run(made, "trl", tmp_path / "out")
        before = folder_bytes(tmp_path / "out")
        with pytest.raises(UsageError):
            run(make.curated(tmp_path / "in", []), "trl", tmp_path / "out")
        assert folder_bytes(tmp_path / "out") == before
        assert json.loads((tmp_path / "out/export.json").read_text())["status"] == "complete"


def _broken(out: Output) -> None:
    with out.json_list("llava.json") as file:
        out.picture(make.pictures()[0])
        file.write({"id": "1"})
        file.write({"id": "3", "text": "\ud800"})


class TestConfigFile:
    """The section `export` of the one YAML file; flags go before it."""

    def test_a_file_says_what_flags_say(self, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "ecso.yaml"
        file.write_text(f"export: {{format: swift, out: {tmp_path / 'out'}, seed: 3}}\ncurate: {{max_share: 0.2}}\n")
        assert main([str(made), "--config", str(file), "--seed", "4"]) == 0
        seal = json.loads((tmp_path / "out" / "export.json").read_text())
        schemas.check("export", seal)
        assert (seal["config"]["format"], seal["config"]["seed"]) == ("swift", 4)
        capsys.readouterr()

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("export: {formt: trl}", "formt"),
            ("export: {format: trl, out: x, mix_rows: none}", "mix_rows"),
            ("export: {format: trl}", "export needs --out"),
            ("exports: {}", "exports"),
        ],
    )
    def test_bad_files_are_named(
        self, text: str, words: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "c.yaml").write_text(text)
        assert main([str(made), "--config", str(tmp_path / "c.yaml")]) == 2
        assert words in capsys.readouterr().err
