"""What a refusal about labels says to do is done, to the letter, and helps; and what a teacher's
config.json says of its labels is believed.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from logitcache.cache.cache import Cache
from logitcache_cli.main import cli
from tests.cli.desk import Desk, the_error
from tests.conftest import singles
from tests.shortly import fast, slow

Checkpoint = Callable[..., Path]


def advice(stderr: str, kind: str = "FingerprintMismatch") -> list[str]:
    """The options that the one error line ends with."""
    line = the_error(stderr, kind)
    start = min(place for flag in ("--labels ", "--label-map ") if (place := line.find(flag)) >= 0)
    return shlex.split(line[start:])


def rows_of(values: tuple[Any, ...], count: int = 12) -> list[dict[str, Any]]:
    texts = [row["text"] for row in singles(count, 3)]
    return [{"text": text, "label": values[i % len(values)]} for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("names", "values", "columns"),
    [
        (("1 star", "2 stars", "3 stars"), (1, 2, 3), {"1": 0, "2": 1, "3": 2}),
        slow((("3 stars", "1 star", "2 stars"), (1, 3), {"1": 1, "2": 2, "3": 0})),
        (("NEG, x", "POS=1"), ("o", "p"), {"o": 0, "p": 1}),
        (("pos", "neg", "neutral"), ("Neg", "Pos"), {"pos": 0, "neg": 1, "neutral": 2}),
        slow((("LABEL_0", "LABEL_1", "LABEL_2"), (0, 1), {"0": 0, "1": 1, "2": 2})),
        (("LABEL_0", "LABEL_1", "LABEL_2"), (-1, 0, 1), {"-1": 0, "0": 1, "1": 2}),
        slow((("NEG", "POS"), (0, 4), {"0": 0, "4": 1})),
        slow((("NEG", "POS"), (False, True), {"false": 0, "true": 1})),
        (("twice", "twice"), (0, 1), {"0": 0, "1": 1}),
    ],
)
def test_a_refused_dump_says_what_to_write(
    desk: Desk,
    checkpoint: Checkpoint,
    names: tuple[str, ...],
    values: tuple[Any, ...],
    columns: dict[str, int],
) -> None:
    data = desk.data(rows_of(values))
    arguments = desk.dump(data=data, teacher=str(checkpoint(labels=names)))
    refused = CliRunner().invoke(cli, arguments)
    assert refused.exit_code == 4, refused.output
    dumped = CliRunner().invoke(cli, [*arguments, *advice(refused.stderr)])
    assert dumped.exit_code == 0, dumped.output
    assert "labels: " in dumped.stderr
    cache = Cache.open(desk.at("out"))
    order = cache.manifest.plan.teacher["label_order"] or list(range(len(names)))
    assert dict(zip(cache.label_names, order, strict=True)) == columns
    again = CliRunner().invoke(cli, [*arguments, *advice(refused.stderr)])
    assert again.exit_code == 0, again.output
    live = CliRunner().invoke(
        cli, ["verify", desk.at("out"), "--live", "3", *arguments[1:5], *labels_of(refused.stderr)]
    )
    assert live.exit_code == 0, live.output


def labels_of(stderr: str) -> list[str]:
    """``--labels`` of an advice; the map is in the plan."""
    words = advice(stderr)
    return words[:2] if words[0] == "--labels" else []


@pytest.fixture
def answered(desk: Desk) -> Callable[[Callable[[int], Any]], str]:
    """``answered(label)``: data of 48 rows whose labels are the teacher's own answers, written as
    ``label`` says.
    """
    rows = rows_of(("neg", "pos"), 48)
    plain = CliRunner().invoke(cli, desk.dump(data=desk.data(rows, name="plain")))
    assert plain.exit_code == 0, plain.output
    answers = Cache.open(desk.at("out")).take(np.arange(len(rows))).logits.argmax(axis=1)
    shutil.rmtree(desk.at("out"))
    assert 8 <= answers.sum() <= 40

    def write(label: Callable[[int], Any]) -> str:
        return desk.data(
            [{**row, "label": label(int(a))} for row, a in zip(rows, answers, strict=True)]
        )

    return write


def test_columns_that_gold_labels_contradict_are_not_dumped(
    desk: Desk, answered: Callable[..., str]
) -> None:
    arguments = desk.dump(data=answered(lambda answer: 1 - answer))
    refused = CliRunner().invoke(cli, arguments)
    assert refused.exit_code == 4, refused.output
    assert not Path(desk.at("out")).exists()
    assert "labels: 0 <- neg (column 0), 1 <- pos (column 1); matched by number" in refused.stderr
    other, as_it_is = advice(refused.stderr)[1], advice(refused.stderr)[-1]
    assert (other, as_it_is) == ("0=pos,1=neg", "0=neg,1=pos")
    for label_map, accuracy in ((other, 1.0), (as_it_is, 0.0)):
        place = ["--out", desk.at(f"out-{accuracy}")]
        dumped = CliRunner().invoke(cli, [*arguments, *place, "--label-map", label_map, "--json"])
        assert dumped.exit_code == 0, dumped.output
        assert json.loads(dumped.stdout)["teacher_metric"] == accuracy


def test_columns_that_gold_labels_agree_with_are_dumped(
    desk: Desk, answered: Callable[..., str]
) -> None:
    dumped = CliRunner().invoke(cli, [*desk.dump(data=answered(lambda answer: answer)), "--json"])
    assert dumped.exit_code == 0, dumped.output
    assert json.loads(dumped.stdout)["teacher_metric"] == 1.0


def rewrite(path: Path, change: Callable[[str], Any]) -> None:
    for file in path.glob("*.jsonl"):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        file.write_text(
            "".join(json.dumps({**row, "label": change(row["label"])}) + "\n" for row in rows)
        )


def kd(desk: Desk, *more: str) -> list[str]:
    return desk.train("--cache", desk.at("cache"), *more, method="kd")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"neg": "bad", "pos": "good"}, "bad=neg,good=pos"),
        ({"neg": "pos", "pos": "neg"}, "neg=pos,pos=neg"),
        ({"neg": 1, "pos": 0}, "0=pos,1=neg"),
    ],
)
def test_a_refused_training_says_what_to_write(
    desk: Desk, change: dict[str, Any], expected: str
) -> None:
    rewrite(Path(desk.at("singles")), lambda label: change[label])
    before = desk.tree()
    refused = CliRunner().invoke(cli, kd(desk))
    assert refused.exit_code == 4, refused.output
    assert desk.tree() == before
    assert advice(refused.stderr) == ["--label-map", expected]
    trained = CliRunner().invoke(cli, kd(desk, *advice(refused.stderr)))
    assert trained.exit_code == 0, trained.output
    assert "by --label-map" in trained.stderr


@pytest.mark.parametrize(
    ("change", "options", "shown"),
    [
        (
            {"neg": "neg", "pos": "pos"},
            ["--labels", "pos,neg"],
            "pos <- pos (column 1), neg <- neg (column 0); the same",
        ),
        (
            {"neg": "NEG", "pos": "Pos"},
            [],
            "NEG <- neg (column 0), Pos <- pos (column 1); the names differ in spelling",
        ),
        ({"neg": 0, "pos": 1}, [], "0 <- neg (column 0), 1 <- pos (column 1); matched by number"),
    ],
)
def test_columns_follow_names_into_a_training(
    desk: Desk, change: dict[str, Any], options: list[str], shown: str
) -> None:
    rewrite(Path(desk.at("singles")), lambda label: change[label])
    trained = CliRunner().invoke(cli, kd(desk, *options))
    assert trained.exit_code == 0, trained.output
    assert shown in trained.stderr


def test_a_corrected_label_is_counted(desk: Desk) -> None:
    path = Path(desk.at("singles")) / "train.jsonl"
    lines = path.read_text().splitlines()
    row = json.loads(lines[4])
    lines[4] = json.dumps({**row, "label": {"neg": "pos", "pos": "neg"}[row["label"]]})
    path.write_text("\n".join(lines) + "\n")
    trained = CliRunner().invoke(cli, kd(desk))
    assert trained.exit_code == 0, trained.output
    assert "1 of 60 rows have another label than when they were dumped" in trained.stderr


def test_a_map_without_a_cache_is_refused(desk: Desk) -> None:
    desk.refused(
        desk.train("--label-map", "neg=pos"), 2, "SpecError", "--label-map: base reads no cache"
    )
    desk.refused(
        desk.dump("--label-map", "neg"), 2, "SpecError", "--label-map: expected DATA=TEACHER"
    )


def configured(desk: Desk, checkpoint: Checkpoint, names: tuple[str, ...], **changes: Any) -> str:
    """A teacher whose config.json was edited; None removes a key."""
    folder = shutil.copytree(checkpoint(labels=names), Path(desk.at("configured")))
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return "configured"


@pytest.mark.parametrize("names", [("b", "a"), ("c", "a", "b")])
def test_label2id_alone_names_the_columns(
    desk: Desk, checkpoint: Checkpoint, names: tuple[str, ...]
) -> None:
    teacher = configured(desk, checkpoint, names, id2label=None)
    dumped = CliRunner().invoke(
        cli, desk.dump(data=desk.data(rows_of(tuple(sorted(names)))), teacher=teacher)
    )
    assert dumped.exit_code == 0, dumped.output
    assert Cache.open(desk.at("out")).manifest.plan.teacher["own_names"] == list(names)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"label2id": {"a": 1, "b": 0}}, "found 'a' in id2label and 'b' in label2id for column 0"),
        (
            {"id2label": {"1": "a", "2": "b"}, "label2id": None},
            "number the columns from 0 to 1, found [1, 2]",
        ),
    ],
)
def test_names_that_contradict_each_other_are_refused(
    desk: Desk, checkpoint: Checkpoint, changes: dict[str, Any], found: str
) -> None:
    teacher = configured(desk, checkpoint, ("a", "b"), **changes)
    data = desk.data(rows_of(("a", "b")))
    desk.refused(
        desk.dump(data=data, teacher=teacher),
        4,
        "FingerprintMismatch",
        "configured",
        found,
        "config.json",
    )
    path = Path(desk.at("configured")) / "config.json"
    mended = {
        **json.loads(path.read_text()),
        "id2label": {"0": "a", "1": "b"},
        "label2id": {"a": 0, "b": 1},
    }
    path.write_text(json.dumps(mended))
    dumped = CliRunner().invoke(cli, desk.dump(data=data, teacher=teacher))
    assert dumped.exit_code == 0, dumped.output


@pytest.mark.parametrize(
    "label2id", fast([{"LABEL_0": 0, "LABEL_1": 1}, {"A": 0, "B": 1}, {"a": 0}], {"a": 0})
)
def test_names_that_only_differ_in_spelling_contradict_nothing(
    desk: Desk, checkpoint: Checkpoint, label2id: dict[str, int]
) -> None:
    teacher = configured(desk, checkpoint, ("a", "b"), label2id=label2id)
    dumped = CliRunner().invoke(
        cli, desk.dump(data=desk.data(rows_of(("a", "b"))), teacher=teacher)
    )
    assert dumped.exit_code == 0, dumped.output
