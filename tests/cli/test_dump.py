"""``logitcache dump`` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from logitcache.cache.cache import Cache
from logitcache_cli.main import cli

KEYS = {
    *(
        "cache",
        "rows",
        "positions",
        "teacher_rows",
        "bytes",
        "rows_per_second",
        "tokens_per_second",
        "seconds",
    ),
    *(
        "teacher_metric",
        "scores",
        "dev_scores",
        "dev_rows",
        "entropy",
        "remarks",
        "reused_rows",
        "folds",
        "unlabelled",
    ),
    *("complete", "codec_bytes", "skipped_rows", "cut_rows", "first_cut", "num_labels", "held_out"),
    *("scored_positions", "task"),
}


@pytest.fixture
def dump(
    singles_data: Path, checkpoint: Callable[..., Path], tmp_path: Path
) -> Callable[..., Result]:
    """Run the command on the tiny teacher and the single texts."""

    def run(*more: str) -> Result:
        places = [
            "--teacher",
            str(checkpoint()),
            "--data",
            str(singles_data),
            "--workspace",
            str(tmp_path / "work"),
        ]
        return CliRunner().invoke(cli, ["dump", *places, *more])

    return run


def test_one_json_document_and_nothing_else_on_stdout(
    dump: Callable[..., Result], tmp_path: Path
) -> None:
    found = dump("--json")
    assert found.exit_code == 0
    document = json.loads(found.stdout)
    assert set(document) == KEYS
    assert (
        document["rows"],
        document["positions"],
        document["teacher_rows"],
        document["dev_rows"],
    ) == (60, 60, 60, 24)
    assert document["teacher_metric"] == document["scores"]["accuracy"]
    assert document["task"] == "classification"
    folder = tmp_path / "work" / "caches" / "singles-train-bert-neg-pos-0.1"
    assert document["cache"] == str(folder)
    assert len(Cache.open(folder)) == 60
    remark, teacher, labels, saw = found.stderr.splitlines()
    assert remark.startswith(
        "singles: 3 of 60 train rows: equal texts with different labels (first: "
    )
    assert labels == "labels: neg <- neg (column 0), pos <- pos (column 1)"
    assert teacher.endswith("bert-neg-pos-0.1, 2 labels (neg, pos), computing in float32")
    assert teacher.startswith("teacher: ")
    assert saw == f"{folder}: 60 of 60 rows saw the teacher"


def test_again_sees_no_row(dump: Callable[..., Result]) -> None:
    dump()
    again = json.loads(dump("--json").stdout)
    assert (again["teacher_rows"], again["rows_per_second"], again["rows"]) == (0, 0, 60)
    assert "60 (0 saw the teacher now)" in dump().stdout


def test_the_report_reads_well(dump: Callable[..., Result]) -> None:
    report = dump().stdout
    lines = {line.split()[0] for line in report.splitlines()}
    assert lines >= {"cache", "rows", "size", "entropy", "teacher"}
    assert "rows/s" in report
    assert "tokens/s" in report
    assert "of these rows; macro F1" in report
    assert "of dev (24 rows)" in report


def test_the_report_of_answers_in_a_column_names_no_speed(tmp_path: Path) -> None:
    rows = [{"text": f"a film {i}", "label": i % 2, "p": [0.25, 0.75]} for i in range(4)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    places = ["--data", str(data), "--workspace", str(tmp_path / "work")]
    ended = CliRunner().invoke(cli, ["dump", "--teacher", "column:p", *places])
    assert ended.exit_code == 0, ended.output
    assert "rows       4 (4 read now, " in ended.stdout
    assert "rows/s" not in ended.stdout
    assert "4 of 4 rows have a recorded answer" in ended.stderr


@pytest.mark.parametrize(
    ("options", "held"),
    [
        (("--split", "dev"), {"rows": 24}),
        (("--codec", "float32"), {"dtype": "float32"}),
        (("--max-length", "16"), {"max_length": 16}),
        (("--batch-tokens", "64"), {"batch_tokens": 64}),
        (("--shard-rows", "20"), {"shards": 3}),
        (("--dtype", "bfloat16"), {"computed": "bfloat16"}),
        (("--device", "cpu"), {"device": "cpu"}),
    ],
)
def test_every_option_is_in_the_cache(
    dump: Callable[..., Result], tmp_path: Path, options: tuple[str, ...], held: dict[str, object]
) -> None:
    assert dump("--out", str(tmp_path / "c"), *options).exit_code == 0
    cache = Cache.open(tmp_path / "c")
    plan, receipts = cache.manifest.plan, cache.manifest.receipts
    found = {
        "rows": len(cache),
        "dtype": plan.targets["logits"]["dtype"],
        "max_length": plan.preparation["max_length"],
        "batch_tokens": plan.preparation["batch_tokens"],
        "shards": len(receipts),
        "computed": plan.teacher["dtype"],
        "device": receipts[0].conditions["device"],
    }
    assert held.items() <= found.items()


def test_a_default_is_one_shard_of_what_the_teacher_can_read(
    dump: Callable[..., Result], tmp_path: Path
) -> None:
    dump("--out", str(tmp_path / "c"))
    plan = Cache.open(tmp_path / "c").manifest.plan
    assert (plan.preparation["max_length"], plan.targets["logits"]["dtype"]) == (48, "float16")
    assert plan.shard_rows == 16384


def test_overwrite_makes_another_cache_in_its_place(
    dump: Callable[..., Result], tmp_path: Path
) -> None:
    out = ("--out", str(tmp_path / "c"))
    dump(*out)
    assert dump(*out, "--max-length", "20").exit_code == 4
    assert dump(*out, "--max-length", "20", "--overwrite").exit_code == 0
    assert Cache.open(tmp_path / "c").manifest.plan.preparation["max_length"] == 20


def test_columns_and_label_names_can_be_given(
    checkpoint: Callable[..., Path], write: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [
        {"words": "the film was bright", "verdict": "pos"},
        {"words": "a cold story", "verdict": "neg"},
    ]
    data = write(tmp_path / "data" / "train.jsonl", rows).parent
    names = ["--text", "words", "--label", "verdict", "--labels", "pos, neg"]
    found = CliRunner().invoke(
        cli,
        [
            "dump",
            "--teacher",
            str(checkpoint()),
            "--data",
            str(data),
            "--out",
            str(tmp_path / "c"),
            *names,
        ],
    )
    assert found.exit_code == 0
    assert Cache.open(tmp_path / "c").label_names == ("pos", "neg")
    assert "the columns are permuted" in found.stdout


@pytest.mark.slow
def test_in_a_process_of_its_own(
    singles_data: Path, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """What click's runner cannot see: what libraries print by themselves."""
    script = "from logitcache_cli.main import cli; cli()"
    command = [
        sys.executable,
        "-c",
        script,
        "dump",
        "--teacher",
        str(checkpoint()),
        "--data",
        str(singles_data),
    ]
    done = subprocess.run(
        [*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    document = json.loads(done.stdout)
    assert set(document) == KEYS
    teacher = f"teacher: {checkpoint()}, 2 labels (neg, pos), computing in float32\n"
    labels = "labels: neg <- neg (column 0), pos <- pos (column 1)\n"
    assert done.stderr.endswith(
        f"{teacher}{labels}{document['cache']}: 60 of 60 rows saw the teacher\n"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["logitcache-work"]
