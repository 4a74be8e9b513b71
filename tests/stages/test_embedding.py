"""A sentence encoder learns from a cache of its teacher's vectors, on texts without labels."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

from logitcache.api import compare, dump, load, train, verify_live
from logitcache.cache.cache import Cache
from logitcache.cache.inspect import describe, row_of
from logitcache.config.data import Columns
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache_cli.dump import render, to_json
from logitcache_cli.inspect import render as inspected
from tests.conftest import sentence, write_rows
from tests.runs import Interrupt, result, same, stop_at
from tests.stages.sentences import read_vectors, write_encoder
from tests.words import BAD, GOOD

PAIRS = 14


@pytest.fixture(scope="module")
def world(headless: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A teacher 12 wide (its body is 32), 40 texts, pairs with scores, and the teacher's cache."""
    folder = tmp_path_factory.mktemp("embedding")
    draw = random.Random(0)
    texts = [sentence(draw, GOOD + BAD, draw.randint(1, 9)) for _ in range(40)]
    write_rows(folder / "texts.jsonl", [{"text": text} for text in texts])
    lines = ["index\tsentence1\tsentence2\tscore"]
    for index in range(PAIRS):
        first, second = (sentence(draw, GOOD + BAD, draw.randint(1, 9)) for _ in range(2))
        lines.append(f"{index}\t{first}\t{second}\t{index % 5 + 0.25:.3f}")
    (folder / "dev.tsv").write_text("\n".join(lines) + "\n")
    teacher = write_encoder(headless, folder / "teacher", dense=12)
    report = dump(
        str(teacher), str(folder / "texts.jsonl"), task="embedding", device="cpu",
        similarity=str(folder / "dev.tsv"), workspace=folder, notify=lambda line: None,
    )  # fmt: skip
    return {"folder": folder, "teacher": teacher, "cache": report.cache, "report": report,
            "texts": texts, "pairs": [line.split("\t")[1:] for line in lines[1:]]}  # fmt: skip


@pytest.fixture(scope="module")
def trained(world: dict[str, Any]) -> Callable[..., Path]:
    folder = world["folder"]

    def run(out: str, method: str = "embedding", **options: Any) -> Path:
        values = {
            "task": "embedding", "student": "1x16", "vocabulary": 150, "epochs": 2,
            "batch_size": 8, "learning_rate": 2e-3, "checkpoint_steps": 3, "workspace": folder,
            "similarity": str(folder / "dev.tsv"), "out": folder / out,
            "notify": lambda line: None,
        }  # fmt: skip
        return train(method, str(folder / "texts.jsonl"), **{**values, **options})

    return run


def spearman(folder: Path, pairs: list[list[str]]) -> float:
    """Of cosines of the vectors that a folder gives, by the test's own reader."""
    first, second = (read_vectors(folder, [pair[side] for pair in pairs]) for side in (0, 1))
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = (first * second).sum(1) / norms
    return float(spearmanr(cosines, [float(pair[2]) for pair in pairs]).statistic)


def test_the_cache_holds_the_teachers_vectors(world: dict[str, Any]) -> None:
    cache = Cache.open(world["cache"])
    assert list(cache.signals) == ["pooled:own"]
    assert not cache.has_logits
    rows = np.arange(40)
    stored = cache.take(rows, cache.row_hashes(), rows * 0, ("pooled:own",)).vectors["pooled:own"]
    expected = read_vectors(world["teacher"], world["texts"])
    np.testing.assert_allclose(stored.values.astype(np.float32), expected, atol=2e-3)
    score = world["report"].dev_scores["spearman"]
    assert score == pytest.approx(spearman(world["teacher"], world["pairs"]), abs=1e-3)
    document = to_json(world["report"])
    assert (document["task"], document["teacher_metric"]) == ("embedding", score)
    assert f"Spearman {score:.4f}, " in render(document)


def test_a_cache_of_vectors_is_shown_as_that(world: dict[str, Any]) -> None:
    cache = Cache.open(world["cache"])
    document = describe(cache)
    document["row"] = row_of(cache, 3, None, Columns(), world["folder"])
    shown = re.sub(" +", " ", inspected(document))
    assert "codecs no logits, vectors alone; pooled:own: kind vectors, width 12, " in shown
    assert "labels none\n" in shown
    assert "answer none: it keeps vectors, no logits\n" in shown
    assert "<td>no logits, vectors alone: pooled:own</td>" in cache._repr_html_()


def test_the_teacher_is_asked_again_about_its_vectors(world: dict[str, Any]) -> None:
    live = verify_live(
        world["cache"], 5, teacher=str(world["teacher"]), data=str(world["folder"] / "texts.jsonl"),
        device="cpu", workspace=world["folder"],
    )  # fmt: skip
    assert live.agrees
    assert live.signals["pooled:own"].agrees


def test_a_student_is_a_sentence_encoder_of_its_teachers_width(
    world: dict[str, Any], trained: Callable[..., Path]
) -> None:
    out = trained("whole")
    assert read_vectors(out, ["good"]).shape == (1, 12)  # by a map that was learnt, 16 to 12
    document = result(out)
    predictions = pq.read_table(out / "predictions.parquet").to_pandas()
    assert len(predictions) == PAIRS
    own = document["metrics"]["dev"]["spearman"]
    assert own == pytest.approx(spearman(out, world["pairs"]), abs=1e-3)
    names = [float(name) for name in document["label_names"]]
    scores = [names[label] for label in predictions["label"]]
    assert scores == [float(pair[2]) for pair in world["pairs"]]
    assert own == pytest.approx(spearmanr(predictions["cosine"], scores).statistic, abs=1e-6)
    assert max(entry["spearman"] for entry in document["history"]) == pytest.approx(own)


@pytest.mark.slow  # three trainings; any stage that is broken off: test_contract
def test_a_broken_run_goes_on_and_runs_are_compared(trained: Callable[..., Path]) -> None:
    with pytest.raises(Interrupt):
        trained("broken", notify=None, reporter=stop_at(5))
    assert same(trained("broken"), trained("whole"))
    both = trained("mse", "embedding=1:distance=mse", rows=20, seed=1)
    assert {row.method for row in compare(both, trained("whole")).rows} == {
        "embedding", "embedding=1:distance=mse",
    }  # fmt: skip
    assert result(both)["rows_seen"] == 40


def test_layers_of_an_encoder_keep_its_layout(
    world: dict[str, Any], trained: Callable[..., Path]
) -> None:
    out = trained("cut", student=f"from:{world['teacher']}", layers="0", epochs=1)
    kinds = [path.name for path in sorted(out.glob("[0-9]_*"))]
    assert kinds == ["1_Pooling", "2_Dense", "3_Normalize"]
    assert read_vectors(out, ["good"]).shape == (1, 12)


def test_a_students_folder_teaches(world: dict[str, Any], trained: Callable[..., Path]) -> None:
    folder = world["folder"]
    report = dump(
        str(trained("whole")), str(folder / "texts.jsonl"), task="embedding", device="cpu",
        out=folder / "second", notify=lambda line: None,
    )  # fmt: skip
    assert report.teacher_rows == 40


def test_what_is_no_sentence_encoders_is_refused(
    world: dict[str, Any], trained: Callable[..., Path], finished: dict[str, Path]
) -> None:
    with pytest.raises(SpecError, match=r"expected --task embedding, found no task"):
        trained("refused", "base", task=None)
    with pytest.raises(SpecError, match=r"expected a method that compares vectors alone"):
        trained("refused", "mlm=1,embedding=1")
    with pytest.raises(
        SpecError, match=r"expected one column of texts, .* found --text-pair other"
    ):
        trained("refused", text_pair="other")
    with pytest.raises(SpecError, match=r"expected no pooling of its own: .* Leave pooling= out"):
        trained("refused", "embedding=1:pooling=first")
    texts = load({"train": {"text": world["texts"]}}, task="embedding", workspace=world["folder"],
                 notify=lambda line: None)  # fmt: skip
    with pytest.raises(SpecError, match=r"expected a method that compares vectors alone"):
        train("base", texts, student="1x16", workspace=world["folder"], notify=lambda line: None)
    with pytest.raises(FingerprintMismatch, match=r"answers to embedding"):
        trained("refused", cache=finished["cache"])
    with pytest.raises(SpecError, match=r"expected vectors, .* found a codec of logits"):
        dump(str(world["teacher"]), str(world["folder"] / "texts.jsonl"), task="embedding",
             codec="float32", workspace=world["folder"])  # fmt: skip


def test_the_advised_dump_has_the_signals_of_every_term(
    world: dict[str, Any], trained: Callable[..., Path], tmp_path: Path
) -> None:
    method = "embedding=1,tinybert=1:variant=bui"
    options = {"tokenizer": str(world["teacher"]), "workspace": tmp_path, "epochs": 1,
               "student": "1x128"}  # fmt: skip
    with pytest.raises(SpecError) as refused:
        trained("several", method, **options)
    advised = re.search(r"logitcache dump (.*) --teacher TEACHER", str(refused.value))
    assert advised is not None
    words = advised[1].split()
    assert words[:2] == ["--task", "embedding"]
    assert set(words[2::2]) == {"--signal"}
    dump(
        str(world["teacher"]), str(world["folder"] / "texts.jsonl"), task="embedding",
        signal=words[3::2], device="cpu", workspace=tmp_path, notify=lambda line: None,
    )  # fmt: skip
    assert result(trained("several", method, **options))["rows_seen"] == 40


BAD_PAIRS = {
    "no score": (["sentence1\tsentence2", "a\tb"], r"expected pairs with a column score"),
    "no pair": (["text\tscore", "a\t1"], r"expected columns of both texts"),
    "no number": (
        ["sentence1\tsentence2\tscore", "a\tb\thigh"],
        r"line 2: expected scores of 0 or",
    ),
    "negative": (["sentence1\tsentence2\tscore", "a\tb\t-1"], r"found '-1'\. Leave out pairs"),
    "equal": (["sentence1\tsentence2\tscore", "a\tb\t1", "c\td\t1"], r"different scores"),
}


@pytest.mark.parametrize("name", BAD_PAIRS)
def test_bad_pairs_are_refused(trained: Callable[..., Path], tmp_path: Path, name: str) -> None:
    lines, message = BAD_PAIRS[name]
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(SpecError, match=message):
        trained("refused", similarity=str(path))
