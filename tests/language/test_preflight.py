"""What files and rows alone tell of a language model is refused before torch is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logitcache.api import dump
from logitcache.config.data import Columns
from logitcache.config.dump import DumpConfig
from logitcache.config.sequences import Sequences
from logitcache.config.teacher import TeacherSpec
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import Workspace
from logitcache.errors import LogitCacheError, SpecError
from logitcache.models.described import described
from logitcache.reporter import SILENT
from logitcache.stages.preflight import check_device, check_signal_layers, training_rows
from logitcache.stages.preflight_language import check_documents
from logitcache.stages.rows import trained_on
from tests.conftest import write_rows

Lm = Callable[..., Path]


@pytest.fixture(scope="module")
def cache(lm: Lm, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preflight")
    report = dump(
        str(lm("gpt2")), str(texts), task="causal-lm", seq_len=24, device="cpu", workspace=folder,
        codec="topk:k=4", notify=lambda line: None,
    )  # fmt: skip
    return report.cache


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"temperature": 2.0}, r"targets were made for \(1\), found 2. Use --temperature 1"),
        ({"sequences": Sequences(seq_len=48)}, "--seq-len: expected 24"),
        ({"columns": Columns(task="masked-lm")}, "expected a cache of masked-lm, as --task says"),
    ],
)
def test_what_a_cache_alone_tells_is_refused_before_torch(
    cache: Path, values: dict[str, Any], words: str
) -> None:
    config = TrainConfig(method="kd", cache=cache, columns=Columns(task="causal-lm"))
    assert training_rows(config, None, SILENT) is None
    with pytest.raises(LogitCacheError, match=words):
        training_rows(replace(config, **values), None, SILENT)


def test_a_row_of_which_nothing_is_learnt_is_refused_unless_all_is(lm: Lm, tmp_path: Path) -> None:
    chats = [[{"role": "user", "content": "w1"}, {"role": "assistant", "content": "w2"}]] * 6
    chats[3] = chats[3][:1]
    write_rows(tmp_path / "chats.jsonl", [{"messages": chat} for chat in chats])
    config = DumpConfig(
        TeacherSpec(str(lm("gpt2"))), str(tmp_path / "chats.jsonl"), Columns(task="causal-lm"),
        workspace=Workspace(tmp_path),
    )  # fmt: skip
    source = trained_on(config, None, SILENT)
    with pytest.raises(SpecError, match="train row 3: expected an assistant message to learn"):
        check_documents(config, source)
    learns_all = replace(config.settings, sequences=Sequences(supervise="all"))
    check_documents(replace(config, settings=learns_all), source)


def test_the_advice_of_layers_and_devices_works(lm: Lm, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = described(str(lm("bert")))  # of two layers
    for signal, advised in (("hidden:3", "hidden:-1"), ("attention-input:0", "attention-input:-1")):
        with pytest.raises(SpecError, match=f"Name one that is there, such as {advised}"):
            check_signal_layers((signal,), teacher.layers)
        check_signal_layers(("logits", advised), teacher.layers)
    check_signal_layers(("hidden:0", "hidden:-3", "attention-input:2"), teacher.layers)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(SpecError, match="or name one this machine has, such as cpu"):
        check_device("cuda:1")
    check_device("cpu")
    check_device(None)
