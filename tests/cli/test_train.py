"""``logitcache train`` as a user runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from logitcache_cli.main import cli
from tests.shortly import slow

SAID_OF_ROWS = re.compile("also stand in train|`logitcache check` says more")
KEYS = {
    "out",
    "method",
    "seed",
    "metrics",
    "seconds_per_step",
    "peak_memory_bytes",
    "cache_fingerprint",
    "class_weight",
}
SMALL = ("--student", "1x32", "--vocabulary", "150", "--epochs", "1", "--max-length", "32")


@pytest.fixture
def train(singles_data: Path, tmp_path: Path) -> Callable[..., Result]:
    """Run the command on the single texts."""

    def run(*more: str) -> Result:
        places = ["--data", str(singles_data), "--workspace", str(tmp_path / "work")]
        return CliRunner().invoke(cli, ["train", *places, *SMALL, *more])

    return run


def config(out: Path) -> dict[str, object]:
    return dict(json.loads((out / "result.json").read_text())["config"])


def test_one_json_document_and_nothing_else_on_stdout(
    train: Callable[..., Result], tmp_path: Path
) -> None:
    found = train("--method", "ls", "--seed", "3", "--json")
    assert found.exit_code == 0
    document = json.loads(found.stdout)
    assert set(document) == KEYS
    out = Path(document["out"])
    assert out == tmp_path / "work" / "runs" / "singles" / "ls-seed3"
    assert (document["method"], document["seed"]) == ("ls", 3)
    assert set(document["metrics"]) == {"train", "dev", "test"}
    assert document["cache_fingerprint"] is None
    remark, shared, student, scores = found.stderr.splitlines()
    assert remark.endswith("`logitcache check` says more")
    assert shared.endswith(
        "dev texts also stand in train (first: dev row 5): these rows do not measure generalisation"
    )
    assert (
        student == "student: 1x32, 0.0 M parameters, fresh weights; ls, seed 3, on 60 labelled rows"
    )
    assert scores.startswith(f"{out}: accuracy train ")


def test_without_json_the_folder_alone(train: Callable[..., Result], tmp_path: Path) -> None:
    found = train("--method", "base", "--out", str(tmp_path / "out"))
    assert found.stdout == f"{tmp_path / 'out'}\n"
    again = train("--method", "base", "--out", str(tmp_path / "out"))
    assert again.stdout == found.stdout
    assert again.stderr.endswith(f"{tmp_path / 'out'}: this run is there already\n")


def test_kd_says_which_cache_it_found(
    train: Callable[..., Result], finished: dict[str, Path], tmp_path: Path
) -> None:
    found = train(
        "--method",
        "kd",
        "--workspace",
        str(finished["workspace"]),
        "--out",
        str(tmp_path / "kd"),
        "--json",
    )
    assert found.exit_code == 0
    assert "teacher: Cache(" in found.stderr
    assert json.loads(found.stdout)["cache_fingerprint"]


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (
            ("--method", "kd", "--alpha", "0.9", "--temperature", "2"),
            {"alpha": 0.9, "temperature": 2, "soft_factor": 4},
        ),
        slow((("--method", "kd", "--temperature", "2", "--no-tau-squared"), {"soft_factor": 1})),
        (("--method", "tf-reg", "--a", "0.8"), {"a": 0.8, "alpha": 0.5}),
        (
            ("--method", "base", "--batch-size", "16", "--accumulate", "4"),
            {"batch_size": 16, "accumulate": 4},
        ),
        (
            ("--method", "base", "--weight-decay", "0", "--warmup", "0"),
            {"weight_decay": 0, "warmup": 0},
        ),
        slow((("--method", "base", "--learning-rate", "0.001"), {"learning_rate": 0.001})),
        slow((("--method", "base", "--rows", "30"), {"rows": 30})),
        (("--method", "base", "--group-by-length"), {"group_by_length": True}),
        (("--method", "base", "--precision", "bf16"), {"precision": "bf16"}),
        (
            ("--method", "base", "--select", "last", "--metric", "mcc"),
            {"select": "last", "metric": "mcc"},
        ),
    ],
)
def test_every_option_is_in_the_result(
    train: Callable[..., Result],
    finished: dict[str, Path],
    tmp_path: Path,
    options: tuple[str, ...],
    asked: dict[str, object],
) -> None:
    cache = ("--cache", str(finished["cache"])) if "kd" in options else ()
    found = train(*options, *cache, "--out", str(tmp_path / "out"))
    assert (found.exit_code, found.exception) == (0, None)
    assert asked.items() <= config(tmp_path / "out").items()


def test_a_checkpoint_and_a_tokenizer_can_be_named(
    train: Callable[..., Result], checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """The tiny teachers read 48 tokens: what is longer is cut, whatever --max-length says."""
    teacher = str(checkpoint("roberta"))
    long = ("--max-length", "500")
    found = train("--method", "base", "--student", teacher, "--out", str(tmp_path / "a"), *long)
    assert (found.exit_code, found.exception) == (0, None)
    assert config(tmp_path / "a")["init"] == "pretrained"
    found = train(
        "--method",
        "base",
        "--student",
        teacher,
        "--init",
        "random",
        "--out",
        str(tmp_path / "b"),
        *long,
    )
    assert (found.exit_code, found.exception) == (0, None)
    found = train("--method", "base", "--tokenizer", teacher, "--out", str(tmp_path / "c"))
    assert (found.exit_code, found.exception) == (0, None)
    assert json.loads((tmp_path / "c" / "config.json").read_text())["model_type"] == "bert"
    assert not (tmp_path / "work" / "tokenizers").exists()


def test_overwrite_loses_the_run_that_was_there(
    train: Callable[..., Result], tmp_path: Path
) -> None:
    out = ("--method", "base", "--out", str(tmp_path / "out"))
    train(*out)
    refused = train(*out, "--rows", "30")
    assert refused.exit_code == 4
    assert "rows = None, now it is 30" in refused.stderr
    assert train(*out, "--rows", "30", "--overwrite").exit_code == 0
    assert config(tmp_path / "out")["rows"] == 30


@pytest.mark.slow
def test_in_a_process_of_its_own(singles_data: Path, tmp_path: Path) -> None:
    """What click's runner cannot see: what libraries print by themselves."""
    script = "from logitcache_cli.main import cli; cli()"
    arguments = ["train", "--method", "self-kd", "--data", str(singles_data), *SMALL, "--json"]
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["method"] == "self-kd"
    run = "logitcache-work/runs/singles"
    lines = [line for line in done.stderr.splitlines() if not SAID_OF_ROWS.search(line)]
    first, base, labels, saw, second, last = lines
    assert labels == "labels: neg <- neg (column 0), pos <- pos (column 1)"
    assert first.startswith("student: 1x32, 0.0 M parameters, fresh weights; base, ")
    assert second == first.replace("; base, ", "; self-kd, ")
    assert re.match(rf"{run}/base-seed0: accuracy ", base)
    assert saw.startswith("logitcache-work/self-kd/cache-")
    assert saw.endswith(": 60 of 60 rows saw the teacher")
    assert re.match(rf"{run}/self-kd-seed0: accuracy ", last)
