"""What can be refused without a model is refused before torch is loaded: asserted by what is
imported, not by times.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from logitcache.identity import digest_arrays, row_hashes
from tests.cli.desk import GOOD
from tests.conftest import write_rows
from tests.fake_caches import make, plan

HEAVY = {"torch", "transformers", "datasets", "accelerate", "pandas", "sklearn", "matplotlib"}
# modules that the first so many refusals end too early to need
OF_OPTIONS = ({"numpy"}, 4)
OF_ROWS = ({"logitcache.stages.preflight", "logitcache.cache", "logitcache.data.doctor"}, 6)
OF_FILES = (
    {"logitcache.stages.caches", "logitcache.stages.teachers", "logitcache.store.writer"},
    8,
)
SCRIPT = """
import json, sys
from click.testing import CliRunner
from logitcache_cli.main import cli
for arguments in json.loads(sys.argv[1]):
    result = CliRunner().invoke(cli, arguments)
    print(json.dumps([result.exit_code, result.stderr, sorted(sys.modules)]))
"""
DUMP = ["dump", "--teacher", "teacher", "--data"]
TRAIN = ["train", "--method", "base", "--data"]
KD = ["train", "--method", "kd", "--data"]
REFUSALS: list[tuple[list[str], int, str]] = [
    (["train", "--alfa", "1"], 2, "--alpha"),
    (["train", "--method", "kdd"], 2, "expected one of base"),
    (["trian"], 2, "Did you mean train or pretrain?"),
    (["demo", "--quik"], 2, "--quick"),
    ([*DUMP, "nowhere.jsonl"], 2, "no such file or folder"),
    ([*DUMP, "good.jsonl", "--text", "nope"], 2, "no column 'nope'"),
    ([*DUMP, "other.jsonl"], 4, "--label-map"),
    ([*DUMP, "three.jsonl"], 4, "answers 2 classes"),
    ([*DUMP, "single.jsonl", "--finetune", "always"], 2, "at least two classes"),
    ([*DUMP, "good.jsonl", "--out", "cache"], 4, "this cache was begun with data.digest"),
    (["dump", "--teacher", "./nowhere", "--data", "good.jsonl"], 2, "no such folder"),
    (
        ["dump", "--teacher", "several", "--data", "good.jsonl"],
        2,
        "problem_type multi_label_classification",
    ),
    ([*TRAIN, "nowhere.jsonl"], 2, "no such file or folder"),
    ([*TRAIN, "good.jsonl", "--label", "nope"], 2, "no column 'nope'"),
    ([*TRAIN, "bare.jsonl"], 2, "expected labelled training rows"),
    ([*TRAIN, "single.jsonl"], 2, "at least two classes"),
    ([*TRAIN, "good.jsonl", "--student", "./nowhere"], 2, "no student can be loaded"),
    ([*TRAIN, "good.jsonl", "--student", "runs"], 2, "Give that folder: runs/checkpoint-9"),
    ([*TRAIN, "good.jsonl", "--tokenizer", "./nowhere"], 2, "no tokenizer can be loaded"),
    ([*KD, "good.jsonl", "--cache", "cache"], 4, "the cache answers 3 classes"),
    ([*KD, "good.jsonl", "--cache", "nowhere"], 3, "expected a cache"),
    ([*KD, "good.jsonl", "--workspace", "two"], 2, "expected one cache of these train rows"),
    ([*KD, "good.jsonl", "--workspace", "none"], 2, "expected a cache of these train rows"),
    (
        [*KD, "good.jsonl", "--cache", "two/caches/a", "--cache", "two/caches/b"],
        2,
        "--teachers mean",
    ),
    (["train", "--method", "self-kd", "--folds", "2", "--data", "good.jsonl"], 2, "in fold"),
    (["check", "good.jsonl", "--teacher", "no/such"], 2, "as a hub name"),
    (["train"], 2, "UsageError: Missing option '--method'. See `"),
    (["train", "--alpha"], 2, "train --help`."),
    ([*TRAIN, "three.jsonl", "--metric", "f1"], 2, "metric 'f1' is for two classes"),
    (["check", "single.jsonl"], 2, "at least two classes"),
    (["check", "other.jsonl", "--teacher", "teacher"], 4, "--label-map"),
    (["check", "good.jsonl", "--teacher", "./nowhere"], 2, "no teacher can be loaded"),
    (["compare", "nowhere"], 2, "nowhere"),
    (["inspect", "nowhere"], 3, "expected a cache"),
    (["repair", "nowhere"], 3, "expected a cache"),
    (["codecs", "--teacher", "teacher", "--data", "good.jsonl"], 2, "a task with a vocabulary"),
    ([*TRAIN, "good.jsonl", "--out", "good.jsonl"], 2, "good.jsonl: expected a folder"),
    (["demo", "--out", "good.jsonl"], 2, "good.jsonl: expected a folder"),
    (["bench", "overhead", "--student", "./nowhere"], 2, "no student can be loaded"),
    (["bench", "dump", "--teacher", "./nowhere"], 2, "no teacher can be loaded"),
    (["bench", "plan", "--teacher", "./nowhere"], 2, "no teacher can be loaded"),
    (["bench", "overhead", "--data", "nowhere.csv"], 2, "no such file or folder"),
    (["bench", "read", "--out", "two"], 2, "expected a file, found the folder two"),
    (["plan", "--teacher", "./nowhere"], 2, "no teacher can be loaded"),
    (["plan", "--teacher", "4x256", "--data", "nowhere.csv"], 2, "no such file or folder"),
    (["plan", "--teacher", "4x131"], 2, "Try 2x128."),
    (["dump", "--teacher", "4x131"], 2, "--teacher: expected LAYERSxWIDTH"),
    (["check", "good.jsonl", "--student", "2x131"], 2, "--student: expected LAYERSxWIDTH"),
    ([*TRAIN, "good.jsonl", "--class-weight", "bad=2"], 2, "expected a class of the data (neg, po"),
    (["codecs", "--teacher", "./nowhere", "--task", "causal-lm"], 2, "no teacher can be loaded"),
    (["pretrain", "--budget", "1m", "--task", "classification"], 2, "causal-lm or masked-lm"),
    (["report", "nowhere.json"], 2, "no such file"),
    (
        [*DUMP, "chats.jsonl", "--task", "causal-lm"],
        2,
        "a chat template, found teacher without one",
    ),
    ([*DUMP, "good.jsonl", "--signal", "hidden:9"], 2, "hidden:9: expected a layer from 0 to 2"),
    ([*DUMP, "silent.jsonl", "--task", "causal-lm"], 2, "train row 1: expected a completion with"),
    (
        ["codecs", "--bytes-per-token", "2", "--teacher", "x"],
        2,
        "expected a number from 8, found 2",
    ),
    *(
        ([*words, "--out", "/proc/none"], 2, "/proc: expected a folder to write to, found one in w")
        for words in (["demo"], [*DUMP, "good.jsonl"], [*TRAIN, "good.jsonl"])
        if sys.platform == "linux"
    ),
    (
        [*TRAIN, "good.jsonl", "--precision", "fp16"],
        2,
        "needs a GPU, found none. Give --precision ",
    ),
    (["bench", "overhead", "--precision", "fp16"], 2, "needs a GPU, found none. Give --precision "),
    ([*DUMP, "good.jsonl", "--device", "cuda"], 2, "--device: 'cuda' cannot be used"),
    (["study", "report", "two"], 2, "no result in it"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, checkpoint: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("fail-fast")
    write_rows(folder / "good.jsonl", GOOD)
    write_rows(folder / "other.jsonl", [{**row, "label": f"very {row['label']}"} for row in GOOD])
    write_rows(folder / "three.jsonl", [*GOOD, {"text": "a third", "label": "third"}])
    write_rows(folder / "single.jsonl", [{**row, "label": "pos"} for row in GOOD])
    write_rows(folder / "bare.jsonl", [{"text": row["text"]} for row in GOOD])
    write_rows(
        folder / "chats.jsonl",
        [{"messages": [{"role": role, "content": "x"} for role in ("user", "assistant")]}] * 4,
    )
    write_rows(folder / "silent.jsonl", [{"prompt": "x", "completion": text} for text in ("y", "")])
    (folder / "teacher").symlink_to(checkpoint())
    (folder / "runs").mkdir()
    (folder / "runs" / "checkpoint-9").symlink_to(checkpoint())
    several = folder / "several"
    several.mkdir()
    for file in checkpoint().iterdir():
        (several / file.name).write_bytes(file.read_bytes())
    config = json.loads((several / "config.json").read_text("utf-8"))
    (several / "config.json").write_text(
        json.dumps({**config, "problem_type": "multi_label_classification"})
    )
    row_hash = row_hashes([str(row["text"]) for row in GOOD])
    table = digest_arrays([("row_id", np.arange(len(GOOD))), ("row_hash", row_hash)])
    for name, weights in (("a", "ab"), ("b", "cd")):
        of = plan(len(GOOD), width=2)
        teacher = {**of.teacher, "weights": weights, "label_names": ["neg", "pos"]}
        data = {"source": "good", "split": "train", "rows": len(GOOD), "digest": table}
        make(folder / "two" / "caches" / name, replace(of, teacher=teacher, data=data))
    make(
        folder / "cache",
        plan(data={"source": "good", "split": "train", "rows": 10, "digest": "ef56"}),
    )
    return folder


def test_refusals_that_need_no_model_load_none(place: Path) -> None:
    arguments = json.dumps([refusal[0] for refusal in REFUSALS])
    command = [sys.executable, "-c", SCRIPT, arguments]
    without_gpu = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, check=True, env=without_gpu
    )
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    for (words, code, said), (exit_code, stderr, modules) in zip(REFUSALS, outcomes, strict=True):
        assert (exit_code, said in stderr) == (code, True), (words, stderr)
        assert stderr.splitlines()[-1].partition(":")[0].isidentifier(), (words, stderr)
        assert sorted(HEAVY & {name.partition(".")[0] for name in modules}) == [], words
    for unneeded, count in (OF_OPTIONS, OF_ROWS, OF_FILES):
        assert sorted(unneeded & set(outcomes[count - 1][2])) == [], REFUSALS[count - 1][0]
