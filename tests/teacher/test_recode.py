"""A cache of full answers kept with another codec: what a dump with that codec keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from logitcache.cache.cache import Cache
from logitcache.cache.diff import difference
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import Source
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.payloads import Sparse
from logitcache.store.manifest import Plan
from logitcache.store.writer import CacheWriter
from logitcache.targets.table import without_fitted
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel
from logitcache.teacher.recode import recode
from logitcache_cli.main import cli
from tests.fake_caches import CONDITIONS, SKETCHES, answers, plan, tree
from tests.shortly import fast

SPARSE = ("topk:k=2", "sampled:n=30", "varopt:mean=1.5")


def settings(codec: str) -> DumpSettings:
    return DumpSettings(max_length=32, codec=codec, shard_rows=7)


@pytest.fixture(scope="module")
def full(
    teacher: TeacherModel, train_only: Source, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("full") / "cache"
    dump_split(teacher, train_only, "train", folder, settings("float32"))
    return folder


def asked_for(plan: Plan) -> dict[str, Any]:
    """A plan without what follows from a sample of answers, and so from their last bits."""
    document = plan.to_dict()
    return {**document, "targets": without_fitted(document["targets"]["logits"])}


@pytest.mark.parametrize("codec", fast(SPARSE, SPARSE[-1]))
def test_it_is_what_a_dump_with_that_codec_keeps(
    teacher: TeacherModel, train_only: Source, full: Path, tmp_path: Path, codec: str
) -> None:
    dump_split(teacher, train_only, "train", tmp_path / "dumped", settings(codec))
    made = recode(full, tmp_path / "recoded", codec)
    dumped, recoded = Cache.open(tmp_path / "dumped"), Cache.open(tmp_path / "recoded")
    rows = np.arange(len(dumped))
    assert (made.rows, made.fingerprint) == (len(rows), recoded.fingerprint)
    assert asked_for(dumped.manifest.plan) == asked_for(recoded.manifest.plan)
    expected, found = (cache.take(rows).payload for cache in (dumped, recoded))
    assert isinstance(expected, Sparse)
    assert isinstance(found, Sparse)
    same = (expected.ids == found.ids).all(axis=1)
    assert same.mean() > 0.98  # the last bits of the logits may tip a draw
    np.testing.assert_allclose(found.prob[same], expected.prob[same], atol=2e-3)
    np.testing.assert_allclose(found.entropy, expected.entropy, atol=1e-5)
    assert not recoded.verify()
    written = tree(tmp_path / "recoded")
    assert recode(full, tmp_path / "recoded", codec).written == 0
    assert tree(tmp_path / "recoded") == written


def test_a_row_without_an_answer_has_none_afterwards(tmp_path: Path) -> None:
    of = plan(50, 50)
    columns = answers(of)
    columns["logits"][3] = np.nan
    with CacheWriter(tmp_path / "full", of) as writer:
        writer.write(0, columns, SKETCHES, {**CONDITIONS, "skipped": [3]})
        writer.seal()
    recode(tmp_path / "full", tmp_path / "sparse", "topk:k=1")
    assert Cache.open(tmp_path / "sparse").skipped.tolist() == [3]


def test_what_cannot_be_made_is_refused(full: Path, tmp_path: Path) -> None:
    recode(full, tmp_path / "sparse", "topk:k=2")
    with pytest.raises(SpecError, match=r"expected a cache of full answers .* found topk"):
        recode(tmp_path / "sparse", tmp_path / "again", "sampled:n=3")
    with pytest.raises(SpecError, match="expected a codec of a teacher's answers"):
        recode(full, tmp_path / "again", "replay")
    with pytest.raises(SpecError, match="expected another folder"):
        recode(full, full, "topk:k=2")
    with pytest.raises(FingerprintMismatch):
        recode(full, tmp_path / "sparse", "topk:k=1")
    assert not (tmp_path / "again").exists()


def test_signals_are_kept(teacher: TeacherModel, train_only: Source, tmp_path: Path) -> None:
    signals = ("logits", "pooled:mean", "hidden:-1", "attention-input:1")
    of = {codec: replace(settings(codec), signals=signals) for codec in ("float32", "topk:k=1")}
    dump_split(teacher, train_only, "train", tmp_path / "full", of["float32"])
    dump_split(teacher, train_only, "train", tmp_path / "dumped", of["topk:k=1"])
    recode(tmp_path / "full", tmp_path / "recoded", "topk:k=1")
    dumped, recoded = Cache.open(tmp_path / "dumped"), Cache.open(tmp_path / "recoded")
    assert recoded.manifest.plan == dumped.manifest.plan
    assert not recoded.verify()
    assert difference(recoded, dumped).identical


def test_vectors_alone_have_no_other_codec(
    teacher: TeacherModel, train_only: Source, tmp_path: Path
) -> None:
    vectors = replace(settings("float32"), signals=("pooled:mean",))
    dump_split(teacher, train_only, "train", tmp_path / "full", vectors)
    with pytest.raises(
        SpecError, match=r"expected a cache of logits, found one of pooled:mean\. Leave --codec out"
    ):
        recode(tmp_path / "full", tmp_path / "out", "topk:k=1")
    to_zarr = ["convert", str(tmp_path / "full"), str(tmp_path / "out"), "--to", "zarr"]
    assert CliRunner().invoke(cli, to_zarr).exit_code == 0  # as advised


def test_the_command_takes_a_store_or_a_codec_or_both(full: Path, tmp_path: Path) -> None:
    command = ["convert", str(full), str(tmp_path / "out")]
    neither = CliRunner().invoke(cli, command)
    assert (neither.exit_code, "Give --to or --codec" in neither.stderr) == (2, True)
    viewers = CliRunner().invoke(cli, [*command, "--to", "parquet", "--codec", "topk:k=2"])
    assert (viewers.exit_code, "for viewers" in viewers.stderr) == (2, True)
    done = CliRunner().invoke(cli, [*command, "--to", "zarr", "--codec", "topk:k=2"])
    assert done.exit_code == 0
    plan = Cache.open(tmp_path / "out").manifest.plan
    assert (plan.store, plan.targets["logits"]["kind"]) == ("zarr", "topk")
