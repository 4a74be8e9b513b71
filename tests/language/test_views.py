"""Views of a causal model: fresh draws of one forward pass, one of them in each epoch."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.api import diff, dump, repair, train
from logitcache.cache.cache import Cache
from logitcache.cache.rows import stored_source
from logitcache.data.order import of_view
from logitcache.errors import SpecError
from logitcache.reporter import SILENT
from logitcache.teacher.panel import ask_logits
from logitcache.teacher.work import repeats

VIEWS = 3


@pytest.fixture(scope="module")
def world(
    lm: Callable[..., Path], texts: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The same rows under one view and under several; shards cut through the views of a row."""
    folder = tmp_path_factory.mktemp("views")
    named: dict[str, Any] = {
        "task": "causal-lm",
        "seq_len": 24,
        "device": "cpu",
        "reporter": SILENT,
    }
    named |= {"codec": "sampled:n=6", "shard_rows": 10}
    caches = {}
    for views in (1, VIEWS):
        report = dump(
            str(lm("llama")), str(texts), views=views, workspace=folder / str(views), **named
        )
        caches[views] = Cache.open(report.cache)
    return {"folder": folder, "caches": caches, "named": named}


def test_views_have_the_same_rows_and_other_draws(world: dict[str, Any]) -> None:
    one, several = world["caches"][1], world["caches"][VIEWS]
    assert len(several) == VIEWS * len(one)
    rows = np.arange(len(one))
    draws = []
    for view in range(VIEWS):
        answers = several.take(rows * VIEWS + view)
        assert answers.row_hash.tolist() == one.row_hashes().tolist()
        np.testing.assert_allclose(answers.payload.prob.sum(1), 1, rtol=1e-6)
        draws.append((answers.payload.ids, answers.payload.prob))
    first = one.take(rows).payload
    np.testing.assert_array_equal(draws[0][0], first.ids)
    np.testing.assert_array_equal(draws[0][1], first.prob)
    width = max(ids.shape[1] for ids, _ in draws)
    wide = [np.pad(ids, ((0, 0), (0, width - ids.shape[1]))) for ids, _ in draws]
    for other in wide[1:]:
        assert (wide[0] != other).any(axis=1).mean() > 0.5


def test_an_epoch_learns_from_its_view(world: dict[str, Any]) -> None:
    source = stored_source({"train": world["caches"][VIEWS]})
    assert source.views == VIEWS
    count = len(source.split("train")) // VIEWS
    for epoch in range(5):
        order = of_view(lambda epoch: np.arange(count), VIEWS, epoch)
        assert set((order % VIEWS).tolist()) == {epoch % VIEWS}
        assert (order // VIEWS).tolist() == list(range(count))


def test_the_teacher_is_asked_once_whatever_the_views(
    world: dict[str, Any], lm: Callable[..., Path], texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def counted(panel: Any, head: Any, rows: Any, *more: Any) -> Any:
        asked.append(len(rows) - len(np.unique(rows.row_hash)))
        return ask_logits(panel, head, rows, *more)

    monkeypatch.setattr("logitcache.teacher.plan.ask_logits", counted)
    out = world["folder"] / "again"
    dump(str(lm("llama")), str(texts), views=VIEWS, workspace=out, **world["named"])
    assert asked
    assert not any(asked)
    copied = dump(
        str(lm("llama")), str(texts), views=VIEWS, workspace=world["folder"] / "copied",
        reuse=world["caches"][VIEWS].folder, **world["named"],
    )  # fmt: skip
    same = diff(copied.cache, world["caches"][VIEWS].folder)
    assert (copied.reused_rows, same.identical) == (copied.rows, True)


def test_a_shard_of_views_is_repaired_to_the_same_bytes(
    world: dict[str, Any], lm: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(world["caches"][VIEWS].folder, tmp_path / "cache"))
    shard = copy / "shards" / "00001.arrow"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    how: dict[str, Any] = {"device": "cpu", "reporter": SILENT, "workspace": tmp_path}
    again = repair(copy, str(lm("llama")), str(texts), **how)
    assert again.repaired == [1]
    assert shard.read_bytes() == whole


def test_a_student_sees_each_row_once_in_an_epoch(
    world: dict[str, Any], lm: Callable[..., Path]
) -> None:
    import json

    out = train(
        "kd", task="causal-lm", cache=world["caches"][VIEWS].folder, student="1x16", epochs=2,
        workspace=world["folder"] / str(VIEWS), out=world["folder"] / "run", reporter=SILENT,
    )  # fmt: skip
    result = json.loads((out / "result.json").read_text())
    assert result["rows_seen"] == 2 * len(world["caches"][1])


@pytest.mark.parametrize("codec", ["float16", "replay", "topk:k=4"])
def test_views_of_what_draws_nothing_are_refused(
    codec: str, lm: Callable[..., Path], texts: Path, tmp_path: Path, world: dict[str, Any]
) -> None:
    named = {**world["named"], "codec": codec, "workspace": tmp_path}
    with pytest.raises(SpecError, match=r"--views: expected a codec that draws .* Leave --views"):
        dump(str(lm("llama")), str(texts), views=2, **named)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_equal_rows_stand_together(hashes: list[int]) -> None:
    places = repeats(np.array(hashes))
    first = places[0]
    assert [hashes[place] for place in first] == list(dict.fromkeys(hashes))
    assert sorted(places[places >= 0].tolist()) == list(range(len(hashes)))
    for copies in places:
        kept = copies >= 0
        assert [hashes[i] for i in copies[kept]] == [hashes[i] for i in first[kept]]
