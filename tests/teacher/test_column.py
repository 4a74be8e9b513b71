"""A teacher whose answers exist already: its cache is one like any other, and says the same however
they were kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import logitcache
from logitcache.cache.cache import Cache
from logitcache.cache.joining import join
from logitcache.config.dump import DumpConfig
from logitcache.config.teacher import DumpSettings, TeacherSpec
from logitcache.config.workspace import Workspace
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.stages.dump import dump
from tests.commands import run_fresh
from tests.conftest import Row, singles, write_rows
from tests.runs import tree

ROWS = 60


def probabilities() -> Any:
    """f[60, 2]: mostly the label's, some of them 0."""
    rng = np.random.default_rng(0)
    right = rng.uniform(0.6, 1.0, ROWS).round(3)
    right[::7] = 1.0
    p = np.stack([right, 1 - right], axis=1)
    labels = np.array([row["label"] == "pos" for row in singles(ROWS, 0)])
    p[labels] = p[labels, ::-1]
    p[-2:] = p[0]  # equal texts
    return p


def rows(**more: Any) -> list[Row]:
    p = probabilities()
    return [
        {
            **row,
            "probs": p[i].tolist(),
            "p_pos": p[i, 1],
            "p_neg": p[i, 0],
            **{k: v[i] for k, v in more.items()},
        }
        for i, row in enumerate(singles(ROWS, 0))
    ]


@pytest.mark.parametrize(
    ("codec", "words"),
    [
        ("replay", "--codec replay: expected a codec of a teacher's answers"),
        ("topk:k=1,tail=unigram", "topk: tail:"),
    ],
)
def test_a_codec_that_answers_do_not_suffice_for_is_refused(
    asked: Callable[..., DumpConfig], codec: str, words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        dump(asked("column:probs", "c", settings=DumpSettings(codec=codec)))


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., DumpConfig]:
    """A dump of a column of ``train.jsonl``."""
    data = write_rows(tmp_path / "data" / "train.jsonl", rows())

    def config(teacher: str, out: str, **more: Any) -> DumpConfig:
        settings = DumpSettings(shard_rows=25, codec="float32")
        spec = TeacherSpec(teacher)
        return replace(
            DumpConfig(
                spec,
                str(data),
                settings=settings,
                workspace=Workspace(tmp_path),
                out=tmp_path / out,
            ),
            **more,
        )

    return config


def answers(cache: Path) -> Any:
    opened = Cache.open(cache)
    return opened.take(np.arange(len(opened))).logits


def shards(cache: Path) -> dict[str, Any]:
    return {name: data for name, data in tree(cache).items() if name.endswith(".arrow")}


def test_its_cache_is_sealed_and_says_what_was_written(
    asked: Callable[..., DumpConfig], tmp_path: Path
) -> None:
    report = dump(asked("column:probs", "a"))
    cache = Cache.open(tmp_path / "a")
    assert (cache.verify(), cache.label_names, report.rows) == ([], ("neg", "pos"), ROWS)
    exp = np.exp(answers(tmp_path / "a").astype(np.float64))
    np.testing.assert_allclose(exp / exp.sum(axis=1, keepdims=True), probabilities(), atol=1e-6)
    teacher = cache.manifest.plan.teacher
    assert (teacher["name"], teacher["answers"], teacher["zero"]) == (
        "column:probs",
        "probabilities",
        -65504.0,
    )
    assert report.scores["accuracy"] > 0.9
    before = tree(tmp_path / "a")
    dump(asked("column:probs", "a"))
    assert tree(tmp_path / "a") == before


def test_however_they_are_kept_they_are_the_same_teacher(
    asked: Callable[..., DumpConfig], tmp_path: Path
) -> None:
    """Columns in another order, another file in another order, an array, logits: the same bytes,
    the same identity.
    """
    dump(asked("column:probs", "a"))
    other = rows()
    random.Random(1).shuffle(other)
    write_rows(
        tmp_path / "other.jsonl",
        [{"text": r["text"], "p_pos": r["p_pos"], "p_neg": r["p_neg"]} for r in other],
    )
    np.save(tmp_path / "p.npy", probabilities())
    ways = [
        "column:p_*",
        "column:p_pos,p_neg",
        f"column:p_*@{tmp_path / 'other.jsonl'}",
        f"file:{tmp_path / 'p.npy'}",
    ]
    for number, way in enumerate(ways):
        dump(asked(way, f"b{number}"))
        teacher = Cache.open(tmp_path / f"b{number}").manifest.plan.teacher
        assert teacher["weights"] == Cache.open(tmp_path / "a").manifest.plan.teacher["weights"]
        assert shards(tmp_path / f"b{number}") == shards(tmp_path / "a")
    np.save(tmp_path / "z.npy", answers(tmp_path / "a") + 3)
    dump(asked(f"logits:{tmp_path / 'z.npy'}", "z"))
    np.testing.assert_allclose(answers(tmp_path / "z"), answers(tmp_path / "a"), atol=1e-5)


def test_killed_it_goes_on_to_the_same_bytes(
    asked: Callable[..., DumpConfig], tmp_path: Path
) -> None:
    dump(asked("column:probs", "whole"))
    dump(asked("column:probs", "part", part=(1, 3)))  # as if the others were still to come
    for name in ("part", "whole"):
        dump(asked("column:probs", name))
    assert tree(tmp_path / "part") == tree(tmp_path / "whole")


def test_repair_and_verify_live_read_the_answers_again(
    asked: Callable[..., DumpConfig], tmp_path: Path
) -> None:
    data = asked("column:probs", "a").data
    dump(asked("column:probs", "a"))
    before = tree(tmp_path / "a")
    shard = tmp_path / "a" / "shards" / "00001.arrow"
    shard.write_bytes(shard.read_bytes()[:-100])
    report = logitcache.repair(tmp_path / "a", data=data, notify=lambda note: None)
    assert (report.repaired, tree(tmp_path / "a")) == ([1], before)
    live = logitcache.verify_live(tmp_path / "a", 20, data=data, notify=lambda note: None)
    assert (live.agrees, live.same_bytes, np.isfinite(live.allowed)) == (True, 20, True)
    changed = [{**row, "probs": row["probs"][::-1]} for row in rows()]
    write_rows(Path(data), changed)
    with pytest.raises(FingerprintMismatch):
        logitcache.verify_live(tmp_path / "a", 20, data=data, notify=lambda note: None)


def test_rows_without_an_answer_are_named_or_skipped(
    asked: Callable[..., DumpConfig], tmp_path: Path
) -> None:
    known = [{"text": row["text"], "probs": row["probs"]} for row in rows()[:-5]]
    file = write_rows(tmp_path / "some.jsonl", known)
    config = asked(f"column:probs@{file}", "a")
    with pytest.raises(SpecError, match=r"none for 3 of 60 rows \(row 55, 56, 57; first: "):
        dump(config)
    report = dump(replace(config, settings=replace(config.settings, on_nonfinite="skip")))
    assert report.skipped_rows == 3
    assert Cache.open(tmp_path / "a").skipped.tolist() == [55, 56, 57]


def test_answers_without_texts_are_led_to_an_array(
    asked: Callable[..., DumpConfig], tmp_path: Path
) -> None:
    """Both ways that the advice names are followed, and give one cache."""
    without = [{"Line": i, "probs": row["probs"]} for i, row in enumerate(rows())]
    file = write_rows(tmp_path / "answers.jsonl", without)
    expected = r"Call their column as in the data, 'text'\..*give --teacher file:FILE\.npy"
    with pytest.raises(SpecError, match=expected):
        dump(asked(f"column:probs@{file}", "a"))
    beside_texts = [{**row, "text": rows()[row["Line"]]["text"]} for row in without]
    dump(asked(f"column:probs@{write_rows(tmp_path / 'named.jsonl', beside_texts)}", "a"))
    np.save(tmp_path / "p.npy", [row["probs"] for row in without])
    dump(asked(f"file:{tmp_path / 'p.npy'}", "b"))
    assert shards(tmp_path / "a") == shards(tmp_path / "b")


def test_unlabelled_rows_and_logits_by_name(tmp_path: Path) -> None:
    """Unlabelled rows have the column too; a logit that is not there is no 0; nothing is written
    before all is read.
    """
    z = [{"neg": 1.5, "pos": -0.5}] * 8
    train = {"text": [f"t{i}" for i in range(8)], "label": ["neg", "pos"] * 4, "z": z}
    more = {"text": ["u0", "u1"], "z": [{"neg": 1.0, "pos": 2.0}, {"pos": 2.0}]}
    with pytest.raises(SpecError, match="row 1: expected a number for each class"):
        logitcache.dump(
            "logits:z", train, unlabelled=more, out=tmp_path / "a", notify=lambda note: None
        )
    assert not (tmp_path / "a").exists()
    more["z"][1] = {"neg": 0.0, "pos": 2.0}  # type: ignore[call-overload]
    report = logitcache.dump(
        "logits:z", train, unlabelled=more, out=tmp_path / "a", notify=lambda note: None
    )
    assert report.unlabelled is not None
    assert answers(report.unlabelled.cache).tolist() == [[-1, 0], [-2, 0]]


def test_columns_that_look_permuted_are_refused(
    asked: Callable[..., DumpConfig], tmp_path: Path
) -> None:
    np.save(tmp_path / "p.npy", probabilities()[:, ::-1])
    with pytest.raises(FingerprintMismatch, match="--label-map neg=LABEL_1,pos=LABEL_0"):
        dump(asked(f"file:{tmp_path / 'p.npy'}", "a"))
    dump(asked(f"file:{tmp_path / 'p.npy'}", "a", label_map={"neg": "LABEL_1", "pos": "LABEL_0"}))
    dump(asked("column:probs", "b"))
    assert shards(tmp_path / "a") == shards(tmp_path / "b")


def test_a_class_that_no_answer_names_has_probability_zero(tmp_path: Path) -> None:
    table = {
        "text": ["a", "b", "c"],
        "label": ["x", "y", "z"],
        "votes": [["x", "x"], ["y"], ["x", "y"]],
    }
    report = logitcache.dump("column:votes", table, out=tmp_path / "a", notify=lambda note: None)
    p = np.exp(answers(report.cache).astype(np.float64))
    assert (p / p.sum(axis=1, keepdims=True)).tolist() == [[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"reuse": Path("x")}, "--reuse"),
        ({"part": None, "data": "words"}, "data for token-classification"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    asked: Callable[..., DumpConfig], tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    if more.get("data") == "words":
        words = [{"words": ["a", "b"], "tags": ["O", "B-X"], "probs": [0.5, 0.5]}] * 4
        more = {"data": str(write_rows(tmp_path / "words.jsonl", words))}
    with pytest.raises(SpecError, match=message):
        dump(asked("column:probs", "a", **more))


@pytest.mark.parametrize("option", ["tokenizer", "revision"])
def test_what_only_a_model_has_is_refused(option: str) -> None:
    with pytest.raises(
        SpecError, match=f"column:p: expected a model beside --{option}, .* Leave --{option} out."
    ):
        DumpConfig(TeacherSpec("column:p", **{option: "x"})).check()


def test_no_torch_is_loaded(tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", rows())
    script = (
        "import sys, logitcache\n"
        f"logitcache.dump('column:probs', {str(tmp_path / 'train.jsonl')!r}, out={str(tmp_path / 'a')!r})\n"
        "print({'torch', 'transformers', 'accelerate', 'sklearn'} & set(sys.modules))\n"
    )
    done = run_fresh(script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "set()"


def test_kd_from_a_column_is_kd_from_a_cache_of_the_same_logits(
    config: Any, asked: Callable[..., DumpConfig], tmp_path: Path
) -> None:
    """The student's weights are the same to the bit."""
    from logitcache.stages.train import train
    from tests.runs import same

    dump(asked("column:probs", "a"))
    np.save(tmp_path / "z.npy", answers(tmp_path / "a"))
    dump(asked(f"logits:{tmp_path / 'z.npy'}", "b"))
    data = asked("column:probs", "a").data
    kd = replace(config, method="kd", data=data, epochs=1.0)
    one, other = (
        train(replace(kd, cache=tmp_path / name, out=tmp_path / f"run-{name}"))
        for name in ("a", "b")
    )
    assert same(one, other)


def test_check_reads_and_matches_them(asked: Callable[..., DumpConfig]) -> None:
    from logitcache.config.check import CheckConfig
    from logitcache.stages.check import check

    data = asked("column:probs", "a").data
    report = check(CheckConfig(data, teacher="column:p_*"))
    assert report.match is not None
    assert (report.match.own, report.match.order.tolist(), report.refusals) == (
        ("pos", "neg"),
        [1, 0],
        (),
    )
    refused = check(CheckConfig(data, teacher="column:p_pos")).refusals
    assert [error.kind for error in refused] == ["SpecError"]


def test_two_columns_are_averaged_in_every_part(tmp_path: Path) -> None:
    """Answers to unlabelled rows are those of the same column, though they are other answers."""
    softer = ((probabilities() + 0.1) / 1.2).tolist()
    more = [{**row, "text": f"more {row['text']}"} for row in rows(q=softer)]
    write_rows(tmp_path / "train.jsonl", rows(q=softer))
    write_rows(tmp_path / "more.jsonl", more)
    data, unlabelled = str(tmp_path / "train.jsonl"), str(tmp_path / "more.jsonl")
    folders = []
    for column in ("probs", "q"):
        out = tmp_path / column
        logitcache.dump(f"column:{column}", data, unlabelled=unlabelled, out=out)
        folders += [out, out.with_name(f"{column}-unlabelled")]
    caches = [Cache.open(folder) for folder in folders]
    teacher = join(caches, {"train": 0, "unlabelled": ROWS}, "mean")
    assert [len(part.caches) for part in teacher.parts] == [2, 2]
    with pytest.raises(SpecError, match="the unlabelled rows lack the teacher of"):
        join(caches[:3], {"train": 0, "unlabelled": ROWS}, "mean")


def test_a_map_that_reverses_the_answers_is_remarked_on(asked: Callable[..., DumpConfig]) -> None:
    reverse = {"neg": "LABEL_1", "pos": "LABEL_0"}
    report = dump(asked("column:probs", "reversed", label_map=reverse))
    assert any("matched by --label-map" in remark for remark in report.remarks)
    assert any("look permuted" in remark for remark in report.remarks)
    report = dump(asked("column:probs", "straight", label_map={"neg": "LABEL_0", "pos": "LABEL_1"}))
    assert not any("look permuted" in remark for remark in report.remarks)
