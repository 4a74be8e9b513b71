"""A cache of tokens is all that a training needs: moved to another machine, with its tokenizer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from click.testing import CliRunner

from logitcache.api import dump, train
from logitcache.cache.cache import Cache
from logitcache.cache.convert import convert, merge
from logitcache.errors import FingerprintMismatch
from logitcache.models.tokenizer import tokenizer_fingerprint
from logitcache.models.tokenizer_files import tokenizer_arrays, write_tokenizer
from logitcache.reporter import SILENT
from logitcache.stages.stored import _dump_of
from logitcache_cli.main import cli
from tests.language.small_lms import make_config, make_tokenizer

NAMED: dict[str, Any] = {"task": "causal-lm", "reporter": SILENT}
DUMP: dict[str, Any] = {**NAMED, "seq_len": 24, "device": "cpu", "shard_rows": 12}


@pytest.fixture(scope="module")
def moved(lm: Callable[..., Path], texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of train, on a machine that has nothing else."""
    here, there = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("there")
    report = dump(str(lm("gpt2")), str(texts), codec="varopt:mean=4", workspace=here, **DUMP)
    folders = [report.cache, *(part.cache for part in report.held_out)]
    for folder in folders:
        shutil.copytree(folder, there / folder.name)
    shutil.rmtree(here)
    return there / report.cache.name


@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_a_tokenizer_comes_back_as_it_was(kind: str, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(kind, side="left")
    expected = tokenizer_fingerprint(tokenizer)
    arrays = tokenizer_arrays(tokenizer)
    assert write_tokenizer(arrays, tmp_path / "tokenizer")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert tokenizer_fingerprint(again) == expected
    assert again.chat_template == tokenizer.chat_template
    again(["w1"], truncation=True, max_length=4, padding="max_length")  # leaves its traces
    assert {name: data.tobytes() for name, data in tokenizer_arrays(again).items()} == {
        name: data.tobytes() for name, data in arrays.items()
    }
    assert str(tmp_path) not in "".join(data.tobytes().decode() for data in arrays.values())
    assert not write_tokenizer({}, tmp_path / "none")


@pytest.mark.parametrize("method", ["base", "kd"])
def test_a_moved_cache_teaches_a_student_without_a_tokenizer(
    method: str, moved: Path, tmp_path: Path
) -> None:
    named: dict[str, Any] = {**NAMED, "epochs": 1, "workspace": tmp_path / "w"}
    out = train(method, cache=moved, student="1x16", out=tmp_path / "run", **named)
    result = json.loads((out / "result.json").read_text())
    assert set(result["metrics"]) == {"train", "dev"}
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    assert tokenizer.get_vocab() == make_tokenizer().get_vocab()


def test_a_moved_cache_names_the_first_token_that_differs(moved: Path, tmp_path: Path) -> None:
    from tokenizers import models

    other = make_tokenizer()
    vocabulary = dict(other.get_vocab())
    vocabulary["w3"], vocabulary["w4"] = vocabulary["w4"], vocabulary["w3"]
    other.backend_tokenizer.model = models.WordLevel(vocabulary, unk_token="<unk>")
    make_config("gpt2", other).save_pretrained(tmp_path / "s")
    other.save_pretrained(tmp_path / "s")
    with pytest.raises(FingerprintMismatch, match="is 'w4', in the cache 'w3'"):
        train(
            "kd", cache=moved, student=str(tmp_path / "s"), init="random", workspace=tmp_path,
            **NAMED,
        )  # fmt: skip


def test_a_tokenizer_goes_with_a_cache_that_is_converted(moved: Path, tmp_path: Path) -> None:
    convert(moved, tmp_path / "zarr", "zarr")
    one, other = (Cache.open(place).assets for place in (moved, tmp_path / "zarr"))
    assert sorted(one) == sorted(other)
    assert write_tokenizer(other, tmp_path / "tokenizer")


@pytest.mark.parametrize("codec", ["varopt:mean=4", pytest.param("replay", marks=pytest.mark.slow)])
def test_parts_put_together_and_a_dump_that_goes_on_are_the_same_bytes(
    codec: str, lm: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    """Whoever makes a shard, and when."""
    named = {**DUMP, "codec": codec}
    teacher, data = str(lm("gpt2")), str(texts)
    whole = dump(teacher, data, out=tmp_path / "whole", workspace=tmp_path / "w", **named).cache
    parts = []
    for part in ("1/2", "2/2"):
        out = tmp_path / f"part{part[0]}"
        dump(teacher, data, out=out, part=part, workspace=tmp_path / part[0], **named)
        parts.append(out)
    merge(tmp_path / "merged", parts)
    begun = Path(shutil.copytree(whole, tmp_path / "begun"))
    (begun / "manifest.json").unlink()
    for left in (begun / "shards").glob("0000[12]*"):
        left.unlink()
    dump(teacher, data, out=begun, workspace=tmp_path / "w", **named)
    expected = contents(whole)
    assert len(expected) > 6
    assert contents(tmp_path / "merged") == contents(begun) == expected


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_workers_make_what_one_makes(
    lm: Callable[..., Path], texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every split of a dump."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    teacher, data = str(lm("gpt2")), str(texts)
    whole = dump(teacher, data, out=tmp_path / "whole", workspace=tmp_path / "w", **DUMP).cache
    words = ["dump", "--teacher", teacher, "--data", data, "--workspace", str(tmp_path / "w2")]
    words += ["--task", "causal-lm", "--seq-len", "24", "--device", "cpu", "--shard-rows", "12"]
    made = tmp_path / "workers"
    found = CliRunner().invoke(cli, [*words, "--out", str(made), "--workers", "2", "--json"])
    assert found.exit_code == 0, found.output
    assert contents(made) == contents(whole)
    assert contents(tmp_path / "workers-dev") == contents(tmp_path / "whole-dev")


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of a cache's files."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_split_that_is_dumped_alone_is_one_of_the_same_dump(
    lm: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    """It takes the codec that the other split was given, whatever its own rows would give."""
    named = {**DUMP, "codec": "auto:bytes=16", "workspace": tmp_path}
    report = dump(str(lm("gpt2")), str(texts), **named)
    train_cache, dev = Cache.open(report.cache), report.held_out[0].cache
    shutil.rmtree(dev)
    again = dump(str(lm("gpt2")), str(texts), split="dev", **named)
    assert again.cache == dev
    assert _dump_of(Cache.open(dev)) == _dump_of(train_cache)
    assert np.isin("tokenizer/tokenizer.json", list(train_cache.assets))
