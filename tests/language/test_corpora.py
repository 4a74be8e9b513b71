"""Corpora that are no texts: the command that is advised writes texts that are read."""

from __future__ import annotations

import bz2
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import transformers

from logitcache.config.data import Columns
from logitcache.data.source import load
from logitcache.errors import SpecError
from logitcache.reporter import SILENT
from tests.advice import printed, reshaped
from tests.language.small_lms import make_tokenizer

TEXTS = ["w1 w2 w3", "w4 w5"]
PAGES = "".join(
    f"<page><title>T</title><revision><text>{t}</text></revision></page>" for t in TEXTS
)
DUMP = f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{PAGES}</mediawiki>'


def tokens() -> list[list[int]]:
    tokenizer = make_tokenizer()
    return [
        [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        for text in TEXTS
    ]


def stream(kind: str) -> np.ndarray[Any, Any]:
    return np.concatenate(tokens()).astype(kind)


FILES: dict[str, Callable[[Path], Any]] = {
    "train.bin": lambda path: stream("uint16").tofile(path),
    "tokens.npy": lambda path: np.save(path, stream("int32")),
    "ids.jsonl": lambda path: pandas.DataFrame({"input_ids": tokens()}).to_json(
        path, orient="records", lines=True
    ),
    "ids.parquet": lambda path: pandas.DataFrame({"input_ids": tokens()}).to_parquet(path),
    "wiki.xml": lambda path: path.write_text(DUMP),
    "wiki.xml.bz2": lambda path: path.write_bytes(bz2.compress(DUMP.encode())),
}


@pytest.mark.parametrize("name", FILES)
def test_the_command_writes_its_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    FILES[name](tmp_path / name)
    with pytest.raises(SpecError) as caught:
        load(tmp_path / name, Columns(task="causal-lm"), tmp_path, SILENT)
    if "logitcache reshape" in str(caught.value):
        source = load(
            reshaped(str(caught.value), tmp_path), Columns(task="causal-lm"), tmp_path, SILENT
        )
        assert source.table("train").texts()[0] == TEXTS
        return
    command = re.search('python -c "(.*)"', str(caught.value))
    assert command is not None, caught.value
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda _: make_tokenizer())
    written = printed(command[1], tmp_path)
    if written:
        (tmp_path / "OUT.jsonl").write_text(written, encoding="utf-8")
    source = load(tmp_path / "OUT.jsonl", Columns(task="causal-lm"), tmp_path, SILENT)
    assert source.table("train").texts()[0] == TEXTS
