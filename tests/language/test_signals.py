"""Signals of a teacher in a cache: they are the model's own, and a cache of them is one like any."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner

from logitcache.api import dump, train
from logitcache.cache.cache import Cache
from logitcache.cache.diff import difference
from logitcache.cache.joined import Member, Part
from logitcache.cache.joining import join
from logitcache.config.budget import Unit
from logitcache.config.teacher import DumpSettings
from logitcache.config.workspace import Workspace
from logitcache.data.tasks.masked_lm import MaskedLM
from logitcache.errors import SpecError
from logitcache.payloads import single
from logitcache.stages.dump_cost import cost_of_rows
from logitcache.student.terms.objective import SumObjective
from logitcache.targets.table import codec_of_logits
from logitcache_cli.main import cli

SIGNALS = (
    "attention-input:-1",
    "hidden:0",
    "hidden:-1,dtype=bfloat16",
    "hidden:1,dtype=int8",
    "pooled",
)
NAMES = ("attention-input:2", "hidden:0", "hidden:2", "hidden:1", "pooled:mean")


@pytest.fixture(scope="module")
def dumped(
    lm: Callable[..., Path], texts: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Cache]:
    """``dumped(out, **options)``: a cache of the train split of a tiny BERT's signals."""
    folder = tmp_path_factory.mktemp("signals")

    def make(out: str, **options: Any) -> Cache:
        usual = {
            "task": "masked-lm",
            "seq_len": 24,
            "device": "cpu",
            "shard_rows": 8,
            "signal": SIGNALS,
        }
        report = dump(
            str(lm("bert")), str(texts), out=folder / out, workspace=folder, notify=lambda line: None,
            **(usual | options),
        )  # fmt: skip
        return Cache.open(report.cache)

    return make


@pytest.fixture(scope="module")
def alone(dumped: Callable[..., Cache]) -> Cache:
    """Signals alone."""
    return dumped("alone")


def by_hand(model: Any, cache: Cache, row: int) -> dict[str, np.ndarray]:
    """The signals of a row, of a model that is called by hand."""
    ids = torch.from_numpy(cache.tokens(np.array([row]))["input_ids"].values[None].astype(np.int64))
    noted = []
    hook = model.bert.encoder.layer[1].attention.register_forward_pre_hook(
        lambda module, args: noted.append(args[0])
    )
    with torch.no_grad():
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
    hook.remove()
    vectors = (noted[0], states[0], states[2], states[1], states[2].mean(1, keepdim=True))
    return {name: value[0].numpy() for name, value in zip(NAMES, vectors, strict=True)}


def test_signals_are_the_models_own(alone: Cache, lm: Callable[..., Path]) -> None:
    model = transformers.AutoModelForMaskedLM.from_pretrained(lm("bert")).eval()
    rows = np.array([3, 0, 11])
    answers = alone.take(rows, signals=NAMES)
    off = {"hidden:2": 2**-8, "hidden:1": 0.02}
    for place, row in enumerate(rows):
        for name, expected in by_hand(model, alone, row).items():
            found = single(answers.vectors[name].select(np.array([place])).values)
            assert found.shape == expected.shape
            error = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
            assert error.max() <= off.get(name, 2**-10), name
    assert alone.assets["attention-input:2.query"].shape == (32, 32)
    with pytest.raises(
        SpecError, match=r"expected a cache of logits, found one of attention-input:2"
    ):
        _ = answers.logits


def test_signals_and_logits_of_one_pass_are_those_of_two(
    dumped: Callable[..., Cache], alone: Cache
) -> None:
    rows = np.arange(len(alone))
    both = dumped("both", signal=("logits", *SIGNALS), codec="topk:k=4")
    logits = dumped("logits", signal=("logits",), codec="topk:k=4")
    for name, signal in both.take(rows, signals=NAMES).vectors.items():
        np.testing.assert_array_equal(
            signal.values, alone.take(rows, signals=[name]).vectors[name].values
        )
    np.testing.assert_array_equal(both.take(rows).payload.prob, logits.take(rows).payload.prob)
    np.testing.assert_array_equal(both.positions(rows)[1], alone.positions(rows)[1])


def test_the_bytes_on_disk_are_those_announced(dumped: Callable[..., Cache]) -> None:
    """Two bytes a number; four a token for the rows themselves, and eight a masked one."""
    cache = dumped("bytes", signal=("hidden:-1",), shard_rows=64, seq_len=64)
    tokens = len(cache.tokens(np.arange(len(cache)))["input_ids"].values)
    announced = tokens * (2 * 32 + 4) + cache.manifest.positions * 8
    arrays = sum(
        receipt.records[column.level] * column.record_bytes()
        for receipt in cache.manifest.receipts
        for column in cache.manifest.plan.columns
        if column.level != "row"
    )
    assert arrays == announced


def test_the_cost_of_a_dump_of_signals_has_no_head(
    dumped: Callable[..., Cache], alone: Cache
) -> None:
    logits = dumped("priced", signal=("logits",), codec="topk:k=4")
    workspace = Workspace(alone.folder.parent)
    costs = [cost_of_rows(workspace, cache, Unit.FLOPS, len(cache)) for cache in (alone, logits)]
    head = 2 * 32 * logits.codec.width * logits.manifest.positions
    assert costs[1] - costs[0] == pytest.approx(head)


def part_of(cache: Cache, folder: Path, shard: int) -> Path:
    """A dump that has written one shard of the cache."""
    shutil.copytree(cache.folder, folder)
    (folder / "manifest.json").unlink()
    for receipt in (folder / "shards").glob("*.json"):
        if int(receipt.stem) != shard:
            receipt.unlink()
    return folder


def test_a_dump_goes_on_is_copied_converted_and_merged(
    dumped: Callable[..., Cache], alone: Cache, tmp_path: Path
) -> None:
    broken = alone.folder.with_name("broken")
    shutil.copytree(alone.folder, broken)
    (broken / "manifest.json").unlink()
    (broken / "shards" / "00001.json").unlink()
    assert dumped("broken").fingerprint == alone.fingerprint
    again = dumped("reused", reuse=alone.folder)
    run = CliRunner()
    assert run.invoke(cli, ["verify", str(again.folder)]).exit_code == 0
    converted = run.invoke(
        cli, ["convert", str(alone.folder), str(tmp_path / "zarr"), "--to", "zarr"]
    )
    assert converted.exit_code == 0, converted.output
    parts = [str(part_of(alone, tmp_path / f"part-{shard}", shard)) for shard in (0, 1)]
    merged = run.invoke(cli, ["merge", str(tmp_path / "merged"), *parts, str(alone.folder)])
    assert merged.exit_code == 0, merged.output
    rows = np.arange(len(alone))
    expected = alone.take(rows, signals=NAMES).vectors
    for cache in (again, Cache.open(tmp_path / "zarr"), Cache.open(tmp_path / "merged")):
        for name, signal in cache.take(rows, signals=NAMES).vectors.items():
            np.testing.assert_array_equal(signal.values, expected[name].values)
            np.testing.assert_array_equal(signal.indptr, expected[name].indptr)


def test_a_signal_that_is_not_there_is_named_with_the_command(
    dumped: Callable[..., Cache], alone: Cache
) -> None:
    with pytest.raises(SpecError) as refused:
        alone.take(np.arange(2), signals=["attention-input:1"])
    assert "found one of attention-input:2, hidden:0" in str(refused.value)
    options = [word for word in refused.value.advice.split() if ":" in word]
    made = dumped("advice", signal=[option.rstrip(",") for option in options])
    assert made.take(np.arange(2), signals=["attention-input:1"]).vectors


def test_logits_that_are_not_there_are_named_with_the_command(
    alone: Cache, texts: Path, tmp_path: Path
) -> None:
    """Once the refusal spoke of temperatures."""
    for method in ("kd", "mlm=1,kd=1"):
        with pytest.raises(SpecError, match=r"the signal logits, .* --signal logits, into"):
            train(
                method, str(texts), task="masked-lm", cache=str(alone.folder), student="1x16", init="random",
                workspace=tmp_path, out=tmp_path / "out", notify=lambda line: None,
            )  # fmt: skip


def test_the_codec_of_other_vectors_is_named_by_their_signal() -> None:
    with pytest.raises(SpecError, match=r"such as --signal hidden:-1,dtype=int8\."):
        codec_of_logits(DumpSettings(codec="vectors"))
    codec_of_logits(DumpSettings(signals=("logits", "hidden:-1,dtype=int8")))


def test_logits_that_were_not_kept_are_refused_with_the_option(alone: Cache) -> None:
    with pytest.raises(SpecError, match="Dump with --signal logits too"):
        alone.codec.unpack({}, {})
    assert codec_of_logits(DumpSettings(signals=("logits", "hidden:1"))).kind == "dense"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"signal": ("hiden:1",)}, r"^--signal hiden:1: .*Did you mean hidden"),
        ({"signal": ("hidden:x",)}, r"^--signal hidden:x: expected the number of a layer"),
        (
            {"signal": ("hidden:7",)},
            r"^--signal hidden:7: expected a layer from 0 to 2, or from -3 to -1, found 7",
        ),
        ({"signal": ("hidden:2", "hidden:-1")}, "hidden:2 twice, counted from both ends"),
        ({"signal": ("hidden:1", "hidden:1")}, "hidden:1 twice"),
        ({"signal": ("hidden:1,dtype=int4",)}, r"^--signal hidden:1: expected one of float16"),
        ({"signal": ("logits,dtype=int8",)}, "Use --codec to choose how logits are stored"),
        ({"signal": ("pooled:max",)}, "expected one of mean, first"),
        ({"signal": ("hidden:1",), "codec": "topk:k=3"}, "Add --signal logits"),
        (
            {"signal": ("logits",), "codec": "vectors"},
            "^--codec: expected a codec of logits, found vectors",
        ),
        ({"signal": ("hidden:1,dtype=int8,error=0.0001",)}, r"int8.*error.*dtype=float16"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    dumped: Callable[..., Cache], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        dumped("refused", **options)


def test_the_teacher_says_what_the_cache_holds(
    alone: Cache, lm: Callable[..., Path], texts: Path
) -> None:
    run = CliRunner()
    names = ["--device", "cpu", "--teacher", str(lm("bert")), "--data", str(texts)]
    asked = run.invoke(cli, ["verify", str(alone.folder), "--live", "6", "--json", *names])
    assert asked.exit_code == 0, asked.output
    live = json.loads(asked.stdout)["live"]
    assert live["agrees"]
    assert set(live["signals"]) == set(NAMES)
    assert all(signal["agrees"] for signal in live["signals"].values())
    shown = run.invoke(cli, ["verify", str(alone.folder), "--live", "2", *names])
    assert "hidden:2" in shown.output
    inspected = run.invoke(cli, ["inspect", str(alone.folder), "--row", "3"])
    assert inspected.exit_code == 0, inspected.output


def test_two_caches_of_signals_are_compared(
    dumped: Callable[..., Cache], alone: Cache, lm: Callable[..., Path]
) -> None:
    same = difference(alone, dumped("same", shard_rows=16))
    assert same.identical
    coarse = dumped("coarse", signal=("attention-input:-1,dtype=int8", "hidden:0"))
    found = difference(alone, coarse)
    assert set(found.signals) == {"attention-input:2", "hidden:0"}
    assert found.signals["hidden:0"]["max"] == 0
    assert 0 < found.signals["attention-input:2"]["max"] < 0.02
    assert not found.identical
    shown = CliRunner().invoke(cli, ["diff", str(alone.folder), str(coarse.folder)])
    assert "attention-input:2" in shown.output
    other = dumped("other", signal=("logits", "hidden:1"), codec="topk:k=4")
    assert 0 < difference(alone, other).signals["hidden:1"]["max"] < 0.02
    with pytest.raises(SpecError, match=r"expected signals of .*found logits alone"):
        difference(alone, dumped("logits", signal=("logits",), codec="topk:k=4"))


def test_a_flipped_bit_is_found(alone: Cache, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(alone.folder, folder)
    path = next(folder.glob("shards/*vectors*"))
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    assert Cache.open(folder).verify()


def test_codecs_says_what_each_type_keeps(
    lm: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    words = [
        "--task",
        "masked-lm",
        "--seq-len",
        "24",
        "--device",
        "cpu",
        "--signal",
        "hidden:-1",
        "--json",
    ]
    named = ["--teacher", str(lm("bert")), "--data", str(texts), "--workspace", str(tmp_path)]
    asked = CliRunner().invoke(cli, ["codecs", *words, *named, "--positions", "64"])
    assert asked.exit_code == 0, asked.output
    half, bits, byte = json.loads(asked.stdout)["cases"]
    assert [case["bytes"] for case in (half, bits, byte)] == [64, 64, 36]
    assert 0 < half["error"] < bits["error"] < byte["error"] < 0.02
    assert byte["fits"] == 1.0


def test_signals_of_several_teachers_are_refused(
    dumped: Callable[..., Cache], lm: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    """Once those of the first cache stood for all, and bits of bfloat16 were read as numbers."""
    model = transformers.AutoModelForMaskedLM.from_pretrained(lm("bert"))
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(2)
    model.save_pretrained(tmp_path / "other")
    transformers.AutoTokenizer.from_pretrained(lm("bert")).save_pretrained(tmp_path / "other")
    report = dump(
        str(tmp_path / "other"), str(texts), task="masked-lm", seq_len=24, signal="pooled", device="cpu",
        workspace=tmp_path, notify=lambda line: None,
    )  # fmt: skip
    cache = dumped("pooled", signal=("pooled",))
    others = [Cache.open(report.cache), dumped("bits", signal=("pooled,dtype=bfloat16",))]
    whole = join([cache], {"train": 0}, task=MaskedLM(cache.codec.width, None))
    first, *further = (Member(one, None) for one in (cache, *others))
    joined = [replace(whole, parts=(Part("train", 0, (first, further[0])),))]
    for member in further:
        more = Part("more", len(cache), (member,))
        joined.append(replace(whole, parts=(*whole.parts, more)))
    refusals = [
        "of different teachers cannot be averaged",
        "found those of another",
        "pooled:mean as in",
    ]
    for teacher, words in zip(joined, refusals, strict=True):
        with pytest.raises(SpecError, match=words):
            SumObjective.of("embedding").bound(model, teacher)
    assert SumObjective.of("embedding").bound(model, whole).teacher_signals == ("pooled:mean",)
