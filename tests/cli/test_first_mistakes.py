"""What a newcomer mistypes first: one line each, which says where, what was found and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from logitcache_cli.main import COMMANDS, HEADINGS, cli

ROWS = ["--data", "rows.csv"]
SPEC = (
    "tasks: {rows: rows.csv}\nstudents: [2x128]\nmethods: [base, kdd]\nseeds: [1]\nteacher: 1x32\n"
)
MISTAKES = [
    (["dump", "--teacher", "1x32", "--dta", "x"], "No such option '--dta'. Did you mean --data"),
    (["train", "--alhpa", "0.3"], "No such option '--alhpa'. Did you mean --alpha?"),
    (["train", "--lr", "1e-3"], "No such option '--lr'. Did you mean --learning-rate?"),
    (["train", "--num_train_epochs", "3"], "Did you mean --epochs?"),
    (["dump", "--model_name_or_path", "roberta-large"], "Did you mean --teacher?"),
    (["train", "-method", "kd"], "No such option '-method'. Did you mean --method?"),
    (["dump", *ROWS, "--teacher", "1x32", "--codec", "float8"], "found 'float8'. Did you mean float32 or float16?"),
    (
        ["dump", *ROWS, "--teacher", "1x32", "--codec", "topk:k=16"],
        "expected at most 2 (the number of words, or of classes), found 16. Choose a smaller one",
    ),
    (["dump", *ROWS, "--teacher", "1x32", "--signal", "hidden:9"], "--signal hidden:9: expected a layer from 0 to 1"),
    (["dump", *ROWS, "--teacher", "colum:gpt"], "found 'colum:gpt'. Did you mean column:gpt?"),
    (["dump", *ROWS, "--teacher", "file:no.npy"], "expected an array that numpy.save wrote, found no such file."),
    (["dump", "--teacher", "1x32", "--data", "glue/sst3"], "Did you mean glue/sst2?"),
    (["train", "--method", "kd", *ROWS, "--cache", "no"], "(a folder with manifest.json), found no such folder."),
    (["inspect", "rows.csv"], "rows.csv: expected a cache (a folder with manifest.json), found a file."),
    (["inspect", "run"], "found a result of `logitcache train`. Make one with `logitcache dump`."),
    (["train", "--method", "gone:Loss", *ROWS], "Run the command in the folder of gone.py, or correct the name."),
    (["study", "run", "spec.yaml", "--dry-run"], "method: expected one of base"),
    (["report", "no.json"], "found no such file. Make one: logitcache bench overhead --out FILE.json"),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lines = [f"a {('fine', 'dull')[i % 2]} film {i},{('pos', 'neg')[i % 2]}" for i in range(40)]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "result.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=lambda value: " ".join(value)[:40])
def test_a_mistake_is_told_in_one_line(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code in (2, 3), result.output
    assert message in result.stderr.splitlines()[-1], result.stderr


def test_help_shows_every_command_once_and_options_without_arguments() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).stdout
    assert all(f"\n{heading}:\n" in shown for heading in HEADINGS)
    assert all(shown.count(f"\n  {name} ") == 1 for name in COMMANDS)
    compare = CliRunner().invoke(cli, ["compare", "--help"]).stdout
    assert compare.index("\nOptions:\n") < compare.index("--metric") < compare.index("\nOutput:\n")
    assert compare.rindex("RESULTS") < compare.index("\nOptions:\n")
