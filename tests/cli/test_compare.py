"""``logitcache compare``: what goes to which stream, and with which exit code."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner

from logitcache_cli.compare import command
from logitcache_cli.main import cli
from tests.commands import run_fresh

fakes = runpy.run_path(str(Path(__file__).parents[1] / "fake_results.py"))
write_result = fakes["write_result"]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for method in ("base", "kd"):
        for seed in range(2):
            write_result(
                tmp_path / "runs" / f"{method}-{seed}",
                method,
                seed,
                accuracy=0.9 if method == "kd" else 0.5,
            )
    return tmp_path / "runs"


def test_json_is_one_document_and_notes_go_to_stderr(runs: Path) -> None:
    for result in (runs / "base-0" / "result.json", runs / "base-1" / "result.json"):
        text = result.read_text()
        result.write_text(text.replace('"epochs": 5', '"epochs": 4'))
    result = CliRunner().invoke(
        command, [str(runs), "--json", "--bootstrap", "200"], catch_exceptions=False
    )
    document = json.loads(result.stdout)
    assert [row["method"] for row in document["rows"]] == ["base", "kd"]
    assert document["rows"][1]["bootstrap"]["resamples"] == 200
    assert "note: kd and base differ in more than the method: epochs 5 and 4" in result.stderr
    assert result.exit_code == 0


def test_unlabelled_rows_are_in_the_document_and_the_notes(runs: Path) -> None:
    for seed in range(2):
        write_result(
            runs / f"more-{seed}", "kd", seed, **fakes["with_unlabelled"]("kd", 9000, labelled=3000)
        )
    result = CliRunner().invoke(
        command, [str(runs), "--json", "--bootstrap", "200"], catch_exceptions=False
    )
    rows = json.loads(result.stdout)["rows"]
    assert [row["unlabelled_rows"] for row in rows] == [0, 0, 9000]
    assert {row["train_rows"] for row in rows} == {3000}
    assert rows[2]["label"] == "kd (unlabelled_rows=9000)"
    assert (
        "note: kd (unlabelled_rows=9000) saw 4.0 x as many rows in training as base (60,000 against"
        in result.stderr
    )


def test_the_table_goes_to_stdout_and_the_picture_to_its_file(runs: Path, tmp_path: Path) -> None:
    arguments = [str(runs), "--bootstrap", "200", "--plot", str(tmp_path / "picture.svg")]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "KD is ahead of base on both seeds" in result.stdout
    assert (tmp_path / "picture.svg").exists()
    assert result.stderr == ""


def test_options_reach_the_comparison(runs: Path) -> None:
    arguments = [
        str(runs),
        "--json",
        "--metric",
        "mcc",
        "--split",
        "test",
        "--baseline",
        "kd",
        "--bootstrap",
        "100",
    ]
    document = json.loads(CliRunner().invoke(command, arguments, catch_exceptions=False).stdout)
    assert (document["baseline"], document["split"]) == ("kd", "test")
    assert document["rows"][0]["metric"] == "mcc"
    assert document["rows"][0]["difference"] < 0
    assert document["rows"][1]["difference"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 2, "SpecError: nowhere: expected a result folder"),
        (["runs", "--metric", "bleu"], 2, "SpecError: --metric: expected"),
        (["runs", "--split", "train"], 2, "SpecError: --split: expected"),
        (
            ["runs", "--baseline", "nobody"],
            2,
            "SpecError: --baseline: expected a method or label with results, found 'nobody'. Choose one of base",
        ),
        (
            ["runs", "--bootstrap", "5"],
            2,
            "SpecError: --bootstrap: expected a whole number from 100, found 5",
        ),
        (
            ["runs", "--bootstrap", "100", "--plot", "picture.gif"],
            2,
            "SpecError: picture.gif: expected a picture",
        ),
        (["foreign"], 3, "FormatError: foreign/result.json: expected JSON"),
        (["runs", "other"], 4, "FingerprintMismatch: expected"),
        ([], 2, "Missing argument"),
    ],
)
def test_bad_input_has_one_clear_line_and_its_exit_code(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "result.json").write_text("not json")
    write_result(tmp_path / "other", "ls", data={"digest": "other", "train_rows": 1})
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["compare", *arguments])
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_comparing_imports_no_torch(runs: Path) -> None:
    code = (
        "import sys; from logitcache_cli.compare import command;"
        f"command([{str(runs)!r}, '--bootstrap', '100'], standalone_mode=False);"
        "heavy = {'torch', 'transformers', 'matplotlib', 'sklearn'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = run_fresh(code)
    assert (done.returncode, done.stderr) == (0, "")
