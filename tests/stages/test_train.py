"""A run's teacher: from the right cache only, found, joined or averaged; unlabelled rows and folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logitcache.cache.cache import Cache
from logitcache.cache.joined import mean_teacher
from logitcache.config.teacher import DumpSettings
from logitcache.config.train import TrainConfig
from logitcache.data.folds import folds_of
from logitcache.data.source import Source
from logitcache.errors import AlignmentError, FingerprintMismatch, SpecError
from logitcache.reporter import SILENT, Notes
from logitcache.stages.rows import load
from logitcache.stages.train import train
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import load_teacher
from tests.runs import NoSteps, Seen, altered, result, tree
from tests.shortly import slow


def reworded(lines: list[str]) -> list[str]:
    return [
        line.replace('"text": "', '"text": "un') if i in (41, 43) else line
        for i, line in enumerate(lines)
    ]


@pytest.mark.parametrize(
    ("change", "row", "count"),
    [
        (reworded, 41, "2 of 60"),
        (lambda lines: [*reworded(lines)[:42], lines[0], *lines[42:]], 41, "1 of 61"),
    ],
)
def test_a_text_that_the_teacher_has_not_answered_is_refused_with_the_row(
    kd: TrainConfig,
    singles_data: Path,
    tmp_path: Path,
    change: Callable[[list[str]], list[str]],
    row: int,
    count: str,
) -> None:
    data = altered(singles_data, tmp_path / "altered", change)
    with pytest.raises(
        AlignmentError,
        match=f"row {row}: expected a text that the teacher has answered.* {count} rows",
    ):
        train(replace(kd, data=data))
    assert kd.out is not None
    assert not kd.out.exists()


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (lambda lines: lines[::-1], 58),
        slow((lambda lines: lines[1:], 58)),
        slow((lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]], 2)),
        (lambda lines: [*lines, lines[3]], 1),
        (lambda lines: lines[:30], 0),
    ],
)
def test_texts_at_other_places_are_found_by_content_and_it_is_said(
    kd: TrainConfig,
    seen: Seen,
    singles_data: Path,
    tmp_path: Path,
    change: Callable[[list[str]], list[str]],
    moved: int,
) -> None:
    """Another order, a subset, repeated rows: a row is taught the answer to its text. The first
    text is the last one too, so that some rows of a reversed file fit at their places.
    """
    data, notes = altered(singles_data, tmp_path / "altered", change), list[str]()
    config = replace(kd, data=data, epochs=1.0)
    out = train(config, reporter=Notes(notes.append))
    said = [note for note in notes if "were found by content" in note]
    assert [f"rows {moved:,} were found" in note for note in said] == [True] * bool(moved)
    texts = np.array(load(config, SILENT).table("train").texts()[0], object)
    (cache,) = (Cache.open(folder) for folder in config.caches)
    expected = cache.for_texts(texts[seen.row_id[out.name]].tolist()).logits
    np.testing.assert_allclose(seen.teacher[out.name], expected, atol=1e-5)


def test_a_cache_of_another_split_is_refused(
    config: TrainConfig,
    checkpoint: Callable[..., Path],
    load_source: Callable[[Path], Any],
    singles_data: Path,
) -> None:
    folder = config.workspace.folder / "dev-cache"
    dump_split(
        load_teacher(str(checkpoint())), load_source(singles_data), "dev", folder, DumpSettings(48)
    )
    with pytest.raises(AlignmentError, match=r"row \d+"):
        train(replace(config, method="kd", cache=folder))


def test_a_cache_of_other_labels_is_refused(
    kd: TrainConfig, singles_data: Path, tmp_path: Path
) -> None:
    data = altered(
        singles_data,
        tmp_path / "relabelled",
        lambda lines: [x.replace('"pos"', '"good"') for x in lines],
    )
    for file in Path(data).iterdir():
        file.write_text(file.read_text().replace('"pos"', '"good"'))
    with pytest.raises(
        FingerprintMismatch, match=r"labels are neg, pos, the data's good, neg\..*neg=neg"
    ):
        train(replace(kd, data=data))


def test_kd_finds_the_one_cache_of_its_rows(
    config: TrainConfig,
    checkpoint: Callable[..., Path],
    load_source: Callable[[Path], Any],
    singles_data: Path,
) -> None:
    kd, teacher = replace(config, method="kd", epochs=1.0), load_teacher(str(checkpoint()))
    with pytest.raises(SpecError, match="found none"):
        train(kd)
    for name in ("a", "b"):
        folder = config.workspace.cache("singles", "train", name)
        dump_split(teacher, load_source(singles_data), "train", folder, DumpSettings(48))
        if name == "a":
            assert result(train(kd))["cache_fingerprint"] == Cache.open(folder).fingerprint
    with pytest.raises(
        SpecError, match=r"found 2: .*singles-train-a, .*singles-train-b\. Choose one with --cache"
    ):
        train(replace(kd, seed=1))


def test_two_teachers_are_averaged(
    config: TrainConfig, seen: Seen, dumped: Callable[..., Cache]
) -> None:
    caches = [dumped(config, "train", kind) for kind in ("bert", "roberta")]
    kd = replace(config, method="kd", cache=[str(cache.folder) for cache in caches], epochs=1.0)
    with pytest.raises(SpecError, match="average them with --teachers mean"):
        train(kd)
    out = train(replace(kd, teachers="mean"))
    ids = np.array(seen.row_id[out.name])
    assert np.array_equal(
        seen.teacher[out.name], mean_teacher([c.take(ids).logits for c in caches])
    )
    assert result(out)["config"]["teachers"] == "mean"
    assert result(out)["cache_fingerprint"] not in {cache.fingerprint for cache in caches}
    with pytest.raises(FingerprintMismatch, match="cache = "):
        train(replace(kd, cache=caches[0].folder, out=out))


def test_self_kd_in_folds_learns_from_copies_that_did_not_see_the_row(
    more: TrainConfig, seen: Seen
) -> None:
    config = replace(more, method="self-kd", folds=2)
    source, notes = load(config, SILENT), list[str]()
    fold = folds_of(source.split("train").row_hash, 2)
    out = train(config, reporter=Notes(notes.append))
    said = [note for note in notes if note.startswith("fold ")]
    assert said == [f"fold {k} of 2: a first copy that does not see its rows" for k in (1, 2)]
    copies = {
        tuple(result(p)["config"]["without_fold"]): p
        for p in config.workspace.folder.glob("self-kd/copy-*")
    }
    assert sorted(copies) == [(0, 2), (1, 2)]
    for (k, _), copy in copies.items():
        assert sorted(seen.row_id[copy.name]) == np.flatnonzero(fold != k).tolist()
    weights = [load_teacher(str(copies[k, 2])).weights_digest() for k in range(2)]
    for folder in config.workspace.folder.glob("self-kd/cache-*"):
        assert Cache.open(folder).manifest.plan.teacher["folds"]["weights"] == weights
    assert check_answers(source, copies, fold, seen, out.name)
    assert list((config.workspace.folder / "runs" / "singles").iterdir()) == [out]
    everything = tree(config.workspace.folder)
    assert train(config, reporter=NoSteps()) == out
    assert tree(config.workspace.folder) == everything


def check_answers(
    source: Source, copies: dict[Any, Path], fold: Any, seen: Seen, name: str
) -> bool:
    """Whether each train row's target is what the copy of its own fold says of it alone."""
    texts = source.split("train").text.to_pylist()
    for (k, _), copy in copies.items():
        teacher = load_teacher(str(copy), device="cpu")
        for row_id, target in zip(seen.row_id[name], seen.teacher[name], strict=True):
            if row_id < 60 and fold[row_id] == k:
                tokens = teacher.tokenizer(
                    texts[row_id], truncation=True, max_length=32, return_tensors="np"
                )
                alone = teacher.logits(dict(tokens)).numpy()[0]
                np.testing.assert_allclose(target, alone - alone.max(), atol=2e-3)
    return True


def test_self_kd_in_folds_refuses_a_class_that_is_all_in_one(
    config: TrainConfig, write: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [{"text": f"the film was {i}", "label": i % 2} for i in range(20)] + [
        {"text": "a rare one", "label": 2}
    ] * 3
    data = write(tmp_path / "rare" / "train.jsonl", rows)
    with pytest.raises(SpecError, match=r"--folds 4: .* found all 3 of '2' in fold \d"):
        train(replace(config, method="self-kd", folds=4, data=str(data)), reporter=NoSteps())
    assert not config.workspace.folder.exists()
