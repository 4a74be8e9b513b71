"""A dump goes on only where nothing has changed that an answer depends on; and whatever has changed
is named.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import normalizers

from logitcache.cache.cache import Cache
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import Rows, Source
from logitcache.errors import FingerprintMismatch
from logitcache.identity import row_hashes
from logitcache.store.writer import CacheWriter
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import TeacherModel, load_teacher
from logitcache.teacher.plan import planned
from tests.shortly import some

SETTINGS = DumpSettings(max_length=48, batch_tokens=200, shard_rows=25)
Asked = tuple[TeacherModel, Source, str, DumpSettings]
Change = Callable[[TeacherModel, Source], Asked]


def of(texts: list[str], labels: np.ndarray) -> Rows:
    return Rows(_texts(texts), None, labels, np.arange(len(texts)), row_hashes(texts))


def _texts(texts: list[str]) -> Any:
    import pyarrow as pa

    return pa.array(texts, pa.large_string())


def rows(change: Callable[[list[str], np.ndarray], tuple[list[str], np.ndarray]]) -> Change:
    """Other train rows."""

    def asked(teacher: TeacherModel, source: Source) -> Asked:
        train = source.split("train")
        other = of(*change(train.texts()[0], train.label.copy()))
        return teacher, replace(source, splits={**source.splits, "train": other}), "train", SETTINGS

    return asked


def settings(**changes: Any) -> Change:
    return lambda teacher, source: (teacher, source, "train", replace(SETTINGS, **changes))


def teacher_with(change: Callable[[TeacherModel], TeacherModel | None]) -> Change:
    """Another teacher: a copy that ``change`` alters, or gives."""

    def asked(teacher: TeacherModel, source: Source) -> Asked:
        other = replace(
            teacher, model=copy.deepcopy(teacher.model), tokenizer=copy.deepcopy(teacher.tokenizer)
        )
        return change(other) or other, source, "train", SETTINGS

    return asked


def nudged(teacher: TeacherModel) -> None:
    with torch.no_grad():
        next(teacher.model.parameters()).view(-1)[0] += 1e-3


def normalised(teacher: TeacherModel) -> None:
    backend = teacher.tokenizer.backend_tokenizer
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), backend.normalizer])


def corrected(texts: list[str], labels: np.ndarray) -> tuple[list[str], np.ndarray]:
    return texts, np.where(np.arange(len(labels)) == 3, 1 - labels, labels)


CHANGES: dict[str, tuple[Change, str]] = {
    "one weight": (teacher_with(nudged), "teacher.weights"),
    "how weights are computed with": (
        teacher_with(lambda t: setattr(t.model.config, "hidden_act", "relu")),
        "teacher.settings",
    ),
    "labels in another order": (
        teacher_with(
            lambda t: setattr(t.model.config, "id2label", dict(enumerate(t.label_names[::-1])))
        ),
        "teacher.label_order",
    ),
    "another precision": (teacher_with(lambda t: replace(t, dtype="bfloat16")), "teacher.dtype"),
    "another revision": (teacher_with(lambda t: replace(t, revision="1" * 40)), "teacher.revision"),
    "another name": (teacher_with(lambda t: replace(t, name="another")), "teacher.name"),
    "a token more": (
        teacher_with(lambda t: t.tokenizer.add_tokens(["quite-new"]) and None),
        "tokenizer.added_tokens",
    ),
    "another normaliser": (teacher_with(lambda t: normalised(t)), "tokenizer.normalizer"),
    "no token types": (
        teacher_with(
            lambda t: setattr(t.tokenizer, "model_input_names", ["input_ids", "attention_mask"])
        ),
        "tokenizer.inputs",
    ),
    "cut on the other side": (
        teacher_with(lambda t: setattr(t.tokenizer, "truncation_side", "left")),
        "tokenizer.truncation_side",
    ),
    "another padding token": (
        teacher_with(lambda t: setattr(t.tokenizer, "pad_token", t.tokenizer.sep_token)),
        "tokenizer.special.pad",
    ),
    "a word changed": (rows(lambda t, n: ([*t[:-1], t[-1] + " again"], n)), "data.digest"),
    "a row gone": (rows(lambda t, n: (t[:-1], n[:-1])), "data.digest"),
    "a row more": (rows(lambda t, n: ([*t, "one more"], np.append(n, 0))), "data.digest"),
    "two rows changed places": (rows(lambda t, n: ([t[1], t[0], *t[2:]], n)), "data.digest"),
    "a label corrected": (rows(corrected), "data.labels"),
    "another source": (
        lambda t, s: (t, replace(s, name="other"), "train", SETTINGS),
        "data.source",
    ),
    "another split of the same rows": (
        lambda t, s: (t, replace(s, splits={"dev": s.split("train")}), "dev", SETTINGS),
        "data.split",
    ),
    "shorter rows": (settings(max_length=40), "preparation.max_length"),
    "another budget": (settings(batch_tokens=300), "preparation.batch_tokens"),
    "what becomes of NaN": (settings(on_nonfinite="skip"), "preparation.on_nonfinite"),
    "another codec": (settings(codec="float32"), "targets.logits.dtype"),
    "shards of another size": (settings(shard_rows=30), "shard_rows"),
    "another store": (settings(store="zarr"), "store"),
}


# Refused as their neighbours above are; the slow tests try them.
OF_ONE_FIELD = (
    "a row gone",
    "a row more",
    "another budget",
    "another codec",
    "another split of the same rows",
    "another store",
    "shards of another size",
    "what becomes of NaN",
)


@pytest.fixture(scope="module")
def whole(teacher: TeacherModel, source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "cache"
    dump_split(teacher, source, "train", folder, SETTINGS)
    return folder


@pytest.mark.parametrize("change", some(CHANGES, lambda change: change not in OF_ONE_FIELD))
def test_what_has_changed_is_refused_with_both_values(
    teacher: TeacherModel, source: Source, whole: Path, change: str
) -> None:
    asked, field = CHANGES[change]
    plan = planned(*asked(teacher, source)).plan
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    with pytest.raises(
        FingerprintMismatch, match=rf"begun with {field} = .+, now it is .+\. [A-Z]"
    ):
        CacheWriter(whole, plan)
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == before


def test_what_has_moved_or_was_touched_has_not_changed(
    checkpoint: Callable[..., Path], source: Source, whole: Path, tmp_path: Path
) -> None:
    original = checkpoint()
    moved = Path(shutil.copytree(original, tmp_path / "elsewhere" / original.name))
    cache = Path(shutil.copytree(whole, tmp_path / "another name"))
    for path in (*moved.rglob("*"), *cache.rglob("*")):
        os.utime(path, (1, 1))
    again = planned(load_teacher(str(moved), device="cpu"), source, "train", SETTINGS)
    with CacheWriter(cache, again.plan) as writer:
        assert (writer.missing, writer.complete) == ([], True)
    assert Cache.open(cache).fingerprint == Cache.open(whole).fingerprint
    assert not Cache.open(cache).verify()
