"""The two commands of the mission against a stand-in of the hub: in one process, and, where slow tests are tried, typed
as they stand.
"""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from logitcache.data.sources import docstrings
from logitcache.identity import digest_json

fakes = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "fake_hub.py")))

Typed = Any
IN_ONE = """
import shlex, sys
from logitcache_cli.main import cli
for line in sys.argv[1:]:
    cli(shlex.split(line)[1:], standalone_mode=False)
    print("ended", file=sys.stderr)
"""


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory, checkpoint: Callable[..., Path]) -> Any:
    """``typed(line, folder)`` runs a line of shell in a folder, where the hub has one model:
    roberta-large, tiny and without a classification head. ``typed.in_one(folder, *lines)`` runs lines
    in one process, a fork of this one: a process that imports torch takes seconds.
    """
    import transformers

    served = tmp_path_factory.mktemp("hub")
    repository = served / "models" / "roberta-large"
    tiny = checkpoint("roberta")
    transformers.AutoModelForSequenceClassification.from_pretrained(
        tiny
    ).base_model.save_pretrained(repository)
    transformers.AutoTokenizer.from_pretrained(tiny).save_pretrained(repository)
    home = tmp_path_factory.mktemp("home")
    with fakes.FakeHub(served) as hub:

        def run(line: str, folder: Path, **how: str) -> Any:
            path = f'PATH="{Path(sys.executable).parent}:$PATH"'
            return fakes.run(hub, home, "sh", "-c", f'cd "{folder}" && {path} {line}', **how)

        def in_one(folder: Path, *lines: str) -> Any:
            return fakes.fork_python(hub, home, IN_ONE, *lines, folder=folder)

        run.in_one = in_one  # type: ignore[attr-defined]
        yield run


def build_in(folder: Path, rows: int) -> None:
    """Put a small set where the built-in one would be built, which takes a while."""
    versions = {name: docstrings._version(name) for name in docstrings.PACKAGES}
    name = f"docstrings-{digest_json([docstrings._BUILDER, versions])[:12]}"
    place = folder / "logitcache-work" / "data" / name
    place.mkdir(parents=True)
    labels = docstrings.PACKAGES
    for split, count in (("train", rows), ("dev", rows // 4), ("test", rows // 4)):
        lines = (
            {"text": f"The {labels[i % 8]} of {i % 40} films.", "label": labels[i % 8]}
            for i in range(count)
        )
        (place / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (place / "labels.json").write_text(json.dumps(list(labels)))


def loads(result: Path) -> str:
    """What the finished student is, by transformers alone."""
    from transformers import pipeline

    classify = pipeline("text-classification", model=str(result), device="cpu")
    return str(classify("The scipy of 12 films.")[0]["label"])


def test_the_commands_of_the_mission(typed: Typed, tmp_path: Path) -> None:
    build_in(tmp_path, 80)
    commands = ("logitcache dump --teacher roberta-large", "logitcache train --method kd")
    both = typed.in_one(tmp_path, *commands)
    assert both.returncode == 0, both.stderr
    said, _, of_training = both.stderr.partition("ended\n")
    assert "data: the built-in set docstrings: 80 train" in said
    assert "roberta-large: it has no trained classification head" in said
    assert "3 epochs over 80 labelled rows" in said
    assert "docstrings-train-roberta-large" in of_training  # the cache it found
    assert "student: 2x128" in of_training
    result = tmp_path / both.stdout.splitlines()[-1]
    assert loads(result) in docstrings.PACKAGES
    told = json.loads((result / "result.json").read_text())
    assert (told["method"], told["data"]["source"], told["data"]["train_rows"]) == (
        "kd",
        "docstrings",
        80,
    )


@pytest.mark.slow
def test_a_second_dump_asks_for_no_second_fine_tuning(typed: Typed, tmp_path: Path) -> None:
    build_in(tmp_path, 80)
    first = typed("logitcache dump --teacher roberta-large", tmp_path)
    assert first.returncode == 0, first.stderr
    again = typed("logitcache dump --teacher roberta-large --json", tmp_path)
    assert again.returncode == 0, again.stderr
    assert "fine-tuned before" in again.stderr
    assert json.loads(again.stdout)["teacher_rows"] == 0


@pytest.mark.slow
def test_no_hub_is_said_with_the_way_around_it(typed: Typed, tmp_path: Path) -> None:
    build_in(tmp_path, 80)
    ended = typed("logitcache dump --teacher no-such/model", tmp_path, endpoint=fakes.closed_port())
    assert ended.returncode == 2
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("SpecError: no-such/model:")
    assert "local" in last
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_commands_of_the_mission_on_the_real_built_in_set(typed: Typed, tmp_path: Path) -> None:
    dump = typed("logitcache dump --teacher roberta-large", tmp_path)
    assert dump.returncode == 0, dump.stderr
    train = typed("logitcache train --method kd", tmp_path)
    assert train.returncode == 0, train.stderr
    assert loads(tmp_path / train.stdout.strip()) in docstrings.PACKAGES
