"""What holds for every codec."""

from __future__ import annotations

import json

import numpy as np
import pytest

from logitcache.errors import FormatError
from logitcache.targets.codec import KINDS, Codec, codec_from_dict
from logitcache.targets.dense import DenseCodec

CODECS: list[Codec] = [DenseCodec(5), DenseCodec(5, "float32")]


def test_every_kind_is_here() -> None:
    assert {codec.to_dict()["kind"] for codec in CODECS} == set(KINDS)


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_a_codec_survives_its_manifest(codec: Codec) -> None:
    assert codec_from_dict(json.loads(json.dumps(codec.to_dict()))) == codec


@pytest.mark.parametrize("codec", CODECS, ids=str)
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_stored_bytes_are_those_it_states(codec: Codec, rows: int) -> None:
    columns = codec.encode(np.random.default_rng(0).normal(size=(rows, 5)).astype(np.float32))
    assert {name: (str(a.dtype), a.shape) for name, a in columns.items()} == {
        name: (dtype, (rows, width)) for name, (dtype, width) in codec.columns().items()
    }
    assert sum(a.nbytes for a in columns.values()) == rows * codec.bytes_per_position()


@pytest.mark.parametrize("kind", ["zip", None, 3, ["dense"], {}])
def test_an_unknown_kind_is_refused(kind: object) -> None:
    with pytest.raises(FormatError, match=r"codec: expected one of dense, found .*newer logitcache"):
        codec_from_dict({"kind": kind, "width": 3, "dtype": "float16"})
    with pytest.raises(FormatError):
        codec_from_dict({})
