"""What holds for every codec, one from outside among them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example
from hypothesis import given as drawn
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import floats, sampled_from

from logitcache.bench.codecs import WITHIN_BUDGET, Sample, at_bytes
from logitcache.cache.cache import Cache
from logitcache.cache.layout import LEVEL, columns_of
from logitcache.config.option import options_of
from logitcache.data.order import position_keys
from logitcache.data.tasks.token_classification import TokenClassification
from logitcache.errors import FormatError, SpecError
from logitcache.payloads import Array, Payload, Sparse, joined, single
from logitcache.records import chosen
from logitcache.store import tensors
from logitcache.store.columns import ends
from logitcache.store.manifest import Plan
from logitcache.store.writer import CacheWriter
from logitcache.targets.codec import Codec
from logitcache.targets.draws import Draw
from logitcache.targets.replay import WEIGHT, ReplayCodec
from logitcache.targets.table import KINDS, codec_from_dict, named, parse
from logitcache.targets.vectors import VectorCodec
from logitcache.teacher.recode import recode
from logitcache.teacher.shards import Assembly, Layout
from logitcache.teacher.summary import Summary
from tests.fake_caches import CONDITIONS, plan
from tests.targets.toy import Top

WIDTH, POSITIONS = 300, 700
SPECS = ("float16", "float32", "topk:k=8", "topk:k=8,bits=8,tail=uniform", "sampled:n=20", "varopt:mean=9",
         "varopt:mean=9,cap=11,temperature=2", "replay", "toy:", "vectors", "vectors:dtype=bfloat16",
         "vectors:dtype=int8")  # fmt: skip
ASSETS = {WEIGHT: np.eye(WIDTH, dtype=np.float32)}  # a head that gives what it is given


@pytest.fixture(autouse=True)
def _toy_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "toy", Top)


def vectors(positions: int = POSITIONS, width: int = WIDTH, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(positions, width, generator=generator)


def draw(positions: int = POSITIONS, seed: int = 0) -> Draw:
    row = np.arange(positions)
    return Draw(torch.from_numpy(position_keys(seed, "codec", row, 0, row % 7)))


@pytest.fixture(params=SPECS)
def codec(request: pytest.FixtureRequest) -> Codec:
    return made(request.param)


def made(text: str) -> Codec:
    codec = parse(text).codec(WIDTH)
    if isinstance(codec, ReplayCodec):
        return replace(codec, hidden=WIDTH)
    return codec.calibrated([vectors()[:300], vectors()[300:]])


def unpacked(codec: Codec, positions: slice = slice(0, POSITIONS)) -> Payload[Array]:
    kept = codec.reduce(vectors()[positions], draw().select(positions))
    return codec.unpack(codec.pack(kept), ASSETS)


def same(one: Payload[Array], other: Payload[Array]) -> None:
    assert type(one) is type(other)
    for entry in (entry for entry in fields(one) if entry.name != "head"):
        np.testing.assert_array_equal(getattr(one, entry.name), getattr(other, entry.name))


def test_every_kind_is_tested() -> None:
    assert {parse(spec).kind for spec in SPECS} == set(KINDS) - {"none"}  # which keeps nothing
    assert {name: codec.kind for name, codec in KINDS.items()} == {name: name for name in KINDS}


def test_every_codec_with_a_size_is_tried_within_a_budget() -> None:
    """`codecs --bytes-per-token` tries each, by the one setting that it must have."""
    sizes = {}
    for kind, codec in KINDS.items():
        required = [declared.name for declared in options_of(codec) if declared.option.required]
        if required:
            (sizes[kind],) = required
    assert sizes == WITHIN_BUDGET


@pytest.mark.parametrize("kind", WITHIN_BUDGET)
def test_the_largest_within_a_budget_is_named(kind: str) -> None:
    logits = vectors(64, 40)
    sample = Sample(logits, torch.zeros(64).long(), torch.ones(40, 2), torch.ones(40) / 40)
    name = at_bytes(kind, sample, 24, 40)
    assert parse(name).kind == kind
    codec = parse(name).codec(40).calibrated([logits])
    assert 12 < codec.bytes_per_position() <= 24


def test_a_codec_survives_its_manifest_and_is_named_as_it_is_typed(codec: Codec) -> None:
    recorded = json.loads(json.dumps(codec.to_dict()))
    assert codec_from_dict(recorded) == codec
    assert codec.is_calibrated
    again = made(named(recorded))
    assert {**again.to_dict(), "c": None} == pytest.approx({**codec.to_dict(), "c": None})


def test_columns_have_the_records_and_the_bytes_that_are_stated(codec: Codec) -> None:
    packed = codec.pack(codec.reduce(vectors(), draw()))
    assert set(packed) == {column.name for column in codec.columns()}
    for column in codec.columns():
        records = int(packed[column.count].sum()) if column.count else POSITIONS
        shape = (records, column.width) if column.width else (records,)
        assert (str(packed[column.name].dtype), packed[column.name].shape) == (column.dtype, shape)
    stored = sum(array.nbytes for array in packed.values()) / POSITIONS
    assert stored == pytest.approx(codec.bytes_per_position(), rel=0.02)


def test_a_position_is_the_same_in_any_batch(codec: Codec) -> None:
    parts = [unpacked(codec, slice(start, start + 100)) for start in range(0, POSITIONS, 100)]
    same(joined(parts), unpacked(codec))
    nothing = unpacked(codec, slice(0, 0))
    same(joined([nothing, parts[0]]), parts[0])
    some = np.array([5, 1, 1, 40])
    same(
        parts[0].select(some).map(np.copy),
        joined([parts[0].select(some[:2]), parts[0].select(some[2:])]),
    )


def test_the_entropy_and_the_likeliest_word_are_those_of_the_vectors(codec: Codec) -> None:
    payload = unpacked(codec)
    best = vectors().argmax(1).numpy()
    assert (payload.likeliest() == best).mean() > 0.7  # a draw may have missed it
    if isinstance(payload, Sparse):
        assert codec.temperatures is not None
        p = (vectors() / codec.temperatures[0]).double().softmax(1)
        np.testing.assert_allclose(payload.entropy, torch.special.entr(p).sum(1).numpy(), rtol=2e-3)


def test_vectors_that_are_not_finite_break_nothing(codec: Codec) -> None:
    broken = vectors(4)
    broken[1, 2], broken[2] = torch.nan, torch.inf
    columns = codec.pack(codec.reduce(broken, draw(4)))
    assert set(columns) == {column.name for column in codec.columns()}


def cache_plan(codec: Codec, rows: int, store: str = "arrow", shard_rows: int = 4) -> Plan:
    names = [f"class {index}" for index in range(codec.width)]
    return plan(
        rows,
        shard_rows,
        task="token-classification",
        teacher={"name": "teacher", "label_names": names},
        columns=columns_of(codec, LEVEL),
        targets={"logits": codec.to_dict()},
        store=store,
        tensors=tensors.encode(ASSETS)[0] if isinstance(codec, ReplayCodec) else None,
    )


def layouts(of: Plan) -> Iterator[Layout]:
    """Rows with 0 to 4 positions each, shard by shard."""
    for start, stop in of.shards():
        row = np.arange(start, stop)
        indptr = np.concatenate([[0], np.cumsum(row % 5)])
        index = np.concatenate([np.arange(count) for count in row % 5])
        yield Layout(row, row * 17, indptr, index, index - 1, np.zeros_like(row))


def write(folder: Path, of: Plan, codec: Codec) -> list[torch.Tensor]:
    """A cache made by the inference stage's own means, in two batches a shard; its vectors."""
    given = []
    with CacheWriter(folder, of, tensors=tensors.encode(ASSETS)[1]) as writer:
        for number, layout in enumerate(layouts(of)):
            rows = len(layout.row_id)
            summary = Summary.of_table(of.rows, TokenClassification(codec.width, None), None)
            assembly = Assembly(layout, codec, summary, ASSETS)
            answers = vectors(int(layout.indptr[-1]), seed=number)
            for batch in (np.arange(1, rows), np.arange(1)):
                assembly.add(batch, answers[chosen(layout.indptr, batch)[1]])
            assembly.finish()
            arrays = {
                "row_hash": layout.row_hash,
                "label": layout.label,
                ends(LEVEL).name: layout.indptr[1:],
            }
            arrays["position"] = layout.index.astype(np.int32)
            sketches = {"entropy": [0.0], "top_probability": [0.0]}
            writer.write(
                number, {**arrays, **assembly.columns, **assembly.entries()}, sketches, CONDITIONS
            )
            assert summary.positions == len(answers)
            given.append(answers)
        assert writer.seal()
    return given


@pytest.mark.parametrize("store", ["arrow", "zarr"])
def test_a_cache_gives_the_targets_back(codec: Codec, store: str, tmp_path: Path) -> None:
    if isinstance(codec, VectorCodec):
        pytest.skip("no codec of logits: tests/language/test_signals.py")
    of = cache_plan(codec, 11, store)
    given = write(tmp_path / "cache", of, codec)
    cache = Cache.open(tmp_path / "cache")
    assert cache.manifest.positions == sum(map(len, given))
    row = np.concatenate(
        [np.repeat(layout.row_hash, np.diff(layout.indptr)) for layout in layouts(of)]
    )
    index = np.concatenate([layout.index for layout in layouts(of)])
    key = torch.from_numpy(position_keys(0, "codec", row, 0, index))
    expected = codec.unpack(codec.pack(codec.reduce(torch.cat(given), Draw(key))), ASSETS)
    everything = cache.take(np.arange(11))
    same(everything.payload, expected)
    rows = np.array([7, 3, 3, 10, 0])
    widest = everything.payload
    same(
        joined([widest, cache.take(rows).payload]), joined([widest, everything.rows(rows).payload])
    )
    stored = cache.stored(rows)
    assert set(stored) == {column.name for column in codec.columns()}
    assert not cache.verify()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("topkk:k=3", "Did you mean topk"),
        ("topk", "a value for k"),
        ("topk:kk=3", "Did you mean k"),
        ("topk:k=0", "from 1"),
        ("topk:k=many", "whole number"),
        ("topk:k=3,tail=fat", "one of bucket, drop, uniform, unigram"),
        ("topk:k=3,temperature=0", "above 0"),
        ("varopt:mean=0.5", "from 1"),
        ("varopt:mean=9,cap=8", "at most 8"),
        ("topk:k=301", "at most 300"),
        ("float64", "Did you mean float"),
        ("topk:k=4,k=8", "^--codec topk: k: expected one value, found two"),
        ("topk:k=-1", "^--codec topk: k: expected"),
        (
            "replay:k=3",
            "^--codec replay: expected no settings, as it takes none, found 'k'. Give --codec replay alone",
        ),
        ("float16:k=3", "^--codec float16: expected no settings"),
    ],
)
def test_a_codec_that_cannot_be_is_refused(text: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        parse(text).codec(WIDTH)


@example(np.full((3, 7), 1e-45, np.float32), "int8")
@drawn(
    arrays(np.float32, (3, 7), elements=floats(-1e4, 1e4, width=32)),
    sampled_from(["float16", "bfloat16", "int8"]),
)
def test_a_vector_comes_back_within_the_stated_rounding(values: np.ndarray, dtype: str) -> None:
    """And bytes that are further off than they state do not fit."""
    codec = parse(f"vectors:dtype={dtype},error=0.02").codec(7)
    given = torch.from_numpy(values)
    payload = codec.unpack(codec.pack(codec.reduce(given)), {})
    size = np.abs(values)
    bound = size * {"float16": 2**-11, "bfloat16": 2**-8, "int8": 0}[dtype] + 2**-24
    if dtype == "int8":
        bound = bound + size.max(1, keepdims=True) / 254 * (1 + 1e-5)
    found = single(payload.vectors)
    assert (np.abs(found - values) <= bound).all()
    off = np.linalg.norm((found - values).astype(np.float64), axis=1)
    is_far = off > 0.02 * np.linalg.norm(values.astype(np.float64), axis=1) * (1 + 1e-4)
    assert not (codec.fits(given).numpy() & is_far & (dtype == "int8")).any()


def test_vectors_that_no_byte_holds_do_not_fit() -> None:
    large = torch.full((2, 300), 0.01)
    large[1, 0] = 100.0
    assert parse("vectors:dtype=int8").codec(300).fits(large).tolist() == [True, True]
    assert parse("vectors:dtype=int8,error=0.001").codec(300).fits(large).tolist() == [True, False]
    assert parse("vectors").codec(300).fits(large * 1000).tolist() == [True, False]
    broken = torch.tensor([[torch.nan, 1.0], [torch.inf, 1.0]])
    for dtype in ("float16", "bfloat16", "int8"):
        assert not parse(f"vectors:dtype={dtype}").codec(2).fits(broken).any()


@pytest.mark.parametrize("kind", ["zip", None, 3, ["dense"], {}])
def test_an_unknown_kind_is_refused(kind: object) -> None:
    with pytest.raises(FormatError, match=r"codec: expected one of dense, .*newer logitcache"):
        codec_from_dict({"kind": kind, "width": 3, "dtype": "float16"})
    with pytest.raises(FormatError):
        codec_from_dict({})


@pytest.mark.parametrize(
    "change", [{"k": 0}, {"k": "8"}, {"tail": "fat"}, {"width": -1}, {"more": 1}]
)
def test_a_damaged_record_of_a_codec_is_refused(change: dict[str, object]) -> None:
    recorded = {**parse("topk:k=8").codec(WIDTH).to_dict(), **change}
    with pytest.raises(FormatError, match="topk codec"):
        codec_from_dict(recorded)


def test_counts_that_do_not_add_up_are_refused() -> None:
    codec = parse("sampled:n=20").codec(WIDTH)
    columns = codec.pack(codec.reduce(vectors(), draw()))
    columns["entries"][3] += 1
    with pytest.raises(FormatError, match="entries"):
        codec.unpack(columns, {})


def test_rows_without_a_position_are_recoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one of them stands alone in what is computed at once."""
    monkeypatch.setattr("logitcache.teacher.recode.TOGETHER", 1)
    write(tmp_path / "full", cache_plan(made("float32"), 11, "arrow"), made("float32"))
    recode(tmp_path / "full", tmp_path / "topk", "topk:k=8")
    full, recoded = (Cache.open(tmp_path / name).take(np.arange(11)) for name in ("full", "topk"))
    assert recoded.indptr.tolist() == full.indptr.tolist()
    assert recoded.payload.likeliest().tolist() == full.payload.likeliest().tolist()


def test_a_head_is_one_object_where_two_caches_are_read_in_turn() -> None:
    """It is brought to a device once for each object."""
    codec = ReplayCodec(width=WIDTH, hidden=WIDTH)
    train, unlabelled = ({WEIGHT: np.eye(WIDTH, dtype=np.float32)} for _ in range(2))
    first = codec.head(train)
    assert codec.head(unlabelled) is not first
    assert codec.head(train) is first
