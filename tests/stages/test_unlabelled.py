"""Training with unlabelled rows beside labelled ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from logitcache.cache.cache import Cache
from logitcache.cache.joining import join
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import Workspace
from logitcache.data.order import subset
from logitcache.data.selection import held_out
from logitcache.errors import SpecError
from logitcache.reporter import SILENT, Notes
from logitcache.stages.rows import load
from logitcache.stages.train import train
from logitcache.teacher.model import load_teacher
from tests.runs import NoSteps, Seen, altered, result, same, tree


@pytest.fixture
def gaps(config: TrainConfig, singles_data: Path, tmp_path: Path) -> TrainConfig:
    """The same where 20 rows of the train split itself have no label."""

    def bare(lines: list[str]) -> list[str]:
        return [x.split(', "label"')[0] + "}\n" if i % 3 == 1 else x for i, x in enumerate(lines)]

    return replace(config, data=altered(singles_data, tmp_path / "gaps", bare), epochs=1.0)


def rows_of(folder: Path) -> tuple[int, int]:
    data = result(folder)["data"]
    return data["train_rows"], data["unlabelled_rows"]


@pytest.mark.parametrize("method", ["base", "ls", "tf-reg"])
@pytest.mark.parametrize("where", ["beside", "among"])
def test_methods_without_a_teacher_never_see_a_row_without_a_label_and_say_so(
    more: TrainConfig, gaps: TrainConfig, seen: Seen, method: str, where: str
) -> None:
    notes = list[str]()
    out = train(
        replace(more if where == "beside" else gaps, method=method), reporter=Notes(notes.append)
    )
    labelled = [i for i in range(60) if where == "beside" or i % 3 != 1]
    assert sorted(seen.row_id[out.name]) == labelled
    assert min(seen.label[out.name]) == 0
    assert rows_of(out) == (len(labelled), 0)
    left = f"{90 - 60 if where == 'beside' else 20} unlabelled rows are left out: {method} learns from labels alone"
    assert sum(left in note for note in notes) == 1


def test_a_base_run_is_the_same_with_and_without_unlabelled_rows(
    more: TrainConfig, tmp_path: Path
) -> None:
    plain = replace(more, unlabelled=None)
    out = train(plain)
    before = tree(out)
    assert train(more, reporter=NoSteps()) == out
    assert tree(out) == before
    other = train(replace(more, out=tmp_path / "other"))
    assert same(other, out)
    assert (other / "run.json").read_bytes() == before["run.json"]


def test_kd_with_unlabelled_rows_finds_both_caches(
    more: TrainConfig, seen: Seen, dumped: Callable[..., Cache], tmp_path: Path
) -> None:
    kd = replace(more, method="kd")
    caches = [dumped(more)]
    with pytest.raises(SpecError, match="expected a cache of these unlabelled rows, found none"):
        train(kd)
    caches.append(dumped(more, "unlabelled"))
    notes = list[str]()
    out = train(kd, reporter=Notes(notes.append))
    joined = join(caches, {"train": 0, "unlabelled": 60})
    answers = [cache.take(np.arange(len(cache))).logits for cache in caches]
    assert result(out)["cache_fingerprint"] == joined.fingerprint
    assert (result(out)["cache_rows"], rows_of(out), result(out)["rows_seen"]) == (90, (60, 30), 90)
    assert sorted(seen.row_id[out.name]) == list(range(90))
    assert {
        label < 0
        for i, label in zip(seen.row_id[out.name], seen.label[out.name], strict=True)
        if i >= 60
    } == {True}
    assert np.array_equal(seen.teacher[out.name], np.concatenate(answers)[seen.row_id[out.name]])
    assert any(
        "30 unlabelled rows beside 60 labelled ones (alpha = 1 for them)" in note for note in notes
    )
    named = replace(kd, cache=[cache.folder for cache in reversed(caches)], out=tmp_path / "named")
    assert same(train(named), out)
    assert rows_of(train(replace(kd, unlabelled=None, out=tmp_path / "without"))) == (60, 0)


def test_a_cache_for_each_part_is_needed_and_no_more(
    more: TrainConfig, dumped: Callable[..., Cache]
) -> None:
    one, two = dumped(more).folder, dumped(more, "unlabelled").folder
    for config, caches, said in (
        (more, [one], "expected a cache of the unlabelled rows, found none"),
        (more, [two], "expected a cache of the train rows, found none"),
        (replace(more, unlabelled=None), [one, two], "answers for unlabelled rows"),
    ):
        with pytest.raises(SpecError, match=said):
            train(replace(config, method="kd", cache=caches))


def test_the_train_rows_again_without_their_labels_are_another_part(
    config: TrainConfig, singles_data: Path, dumped: Callable[..., Cache], tmp_path: Path
) -> None:
    """Their cache holds the same rows as the labelled ones', and is told apart by its split."""
    data = tmp_path / "alone" / "train.jsonl"
    data.parent.mkdir()
    data.write_bytes((singles_data / "train.jsonl").read_bytes())
    config = replace(config, method="kd", data=str(data.parent), unlabelled=str(data), epochs=1.0)
    source = load(config, SILENT)
    parts = {"train": 0, "unlabelled": 60}
    assert source.table("train").digest() == source.table("unlabelled").digest()
    caches = [dumped(config, split) for split in parts]
    assert result(train(config))["cache_fingerprint"] == join(caches, parts).fingerprint
    learnt = held_out(source, SILENT)  # nobody gave rows to score on
    kept = len(learnt.split("train"))
    assert kept == len(learnt.split("unlabelled")) < 60
    assert rows_of(train(replace(config, method="self-kd"))) == (kept, kept)


def test_rows_counts_labelled_rows_alone(
    more: TrainConfig, seen: Seen, dumped: Callable[..., Cache], gaps: TrainConfig
) -> None:
    for split in ("train", "unlabelled"):
        dumped(more, split)
    outs = [train(replace(more, method=method, rows=20)) for method in ("base", "kd", "self-kd")]
    assert [rows_of(out) for out in outs] == [(20, 0), (20, 30), (20, 30)]
    labelled = [sorted(i for i in seen.row_id[out.name] if i < 60) for out in outs]
    assert labelled[0] == labelled[1] == labelled[2] == subset(60, 20).tolist()
    dumped(replace(gaps, workspace=Workspace(more.workspace.folder / "gaps")))
    gaps = replace(gaps, rows=10, workspace=Workspace(more.workspace.folder / "gaps"))
    base, kd = (train(replace(gaps, method=method)) for method in ("base", "kd"))
    assert (rows_of(base), rows_of(kd)) == ((10, 0), (10, 20))


def test_self_kd_learns_from_unlabelled_rows_too(more: TrainConfig, seen: Seen) -> None:
    base = train(replace(more, unlabelled=None))
    before = tree(base)
    out = train(replace(more, method="self-kd"))
    assert tree(base) == before
    assert rows_of(out) == (60, 30)
    caches = [Cache.open(folder) for folder in more.workspace.folder.glob("self-kd/cache-*")]
    assert sorted(len(cache) for cache in caches) == [30, 60]
    assert {cache.manifest.plan.teacher["weights"] for cache in caches} == {
        load_teacher(str(base)).weights_digest()
    }
    assert sorted(seen.row_id[out.name]) == list(range(90))
    assert train(replace(more, method="self-kd"), reporter=NoSteps()) == out


def test_averaged_teachers_answer_for_unlabelled_rows_too(
    more: TrainConfig, dumped: Callable[..., Cache]
) -> None:
    caches = [
        dumped(more, split, kind).folder
        for split in ("train", "unlabelled")
        for kind in ("bert", "roberta")
    ]
    out = train(replace(more, method="kd", cache=caches, teachers="mean"))
    assert (rows_of(out), result(out)["cache_rows"]) == ((60, 30), 180)
