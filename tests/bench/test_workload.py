"""What is timed: any architecture without its weights, rows of the data's own lengths; what cannot
be is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from logitcache.bench.models import KNOWN, config_of, random_model
from logitcache.bench.workload import load
from logitcache.data.preprocess.tokens import prepare
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.models.load import load_tokenizer
from logitcache.reporter import SILENT, Notes

PUBLISHED = {  # parameters in millions, of the checkpoints with a classification head
    "roberta-large": 355,
    "roberta-base": 125,
    "distilroberta-base": 82,
    "bert-large-uncased": 335,
    "bert-base-uncased": 109,
    "bert-small": 28.8,
    "gpt2": 124,
    "distilgpt2": 82,
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_well_known_shape_has_the_parameters_of_its_checkpoint(name: str) -> None:
    with torch.device("meta"):
        model = random_model(config_of(name), 2)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(
        PUBLISHED[name], rel=0.012
    )


def test_shapes_need_neither_weights_nor_data(tiny: Any) -> None:
    work = load(tiny)
    assert (len(work.rows), set(work.rows.lengths())) == (40, {12})
    assert work.same_inputs
    assert work.random_head
    assert not work.teacher.model.training
    assert not any(p.requires_grad for p in work.teacher.model.parameters())


def test_random_tokens_have_the_lengths_of_the_data(
    tiny: Any, checkpoint: Callable[..., Path], real: Any
) -> None:
    work = load(
        replace(
            tiny, tokens=None, rows=None, student=str(checkpoint()), data=real.data, max_length=32
        )
    )
    source = load(real)
    tokens = prepare(load_tokenizer(str(checkpoint())), _texts(real), 32).lengths()
    assert sorted(work.rows.lengths()) == sorted(tokens)
    assert work.train_rows == source.train_rows == 60


def _texts(real: Any) -> Any:
    from logitcache.config.data import Columns
    from logitcache.data.source import load as load_rows

    return load_rows(real.data, Columns(), Path("unused"), SILENT).split("train")


def test_the_same_seed_draws_the_same(tiny: Any) -> None:
    one, two, other = load(tiny), load(tiny), load(replace(tiny, seed=1))
    assert np.array_equal(one.rows.inputs["input_ids"].values, two.rows.inputs["input_ids"].values)
    assert not np.array_equal(
        one.rows.inputs["input_ids"].values, other.rows.inputs["input_ids"].values
    )
    # who asks for memory has another teacher, and reads the same cache
    nobody = load(replace(tiny, teacher="1x32"))
    assert np.array_equal(one.rows.row_hash, nobody.rows.row_hash)


def test_a_teacher_of_other_labels_is_refused(real: Any, checkpoint: Callable[..., Path]) -> None:
    other = checkpoint(labels=("a", "b", "c"))
    with pytest.raises(FingerprintMismatch, match="3 classes"):
        load(replace(real, teacher=str(other)))


def test_a_teacher_without_a_head_is_timed_with_a_random_one(real: Any, headless: Path) -> None:
    said: list[str] = []
    work = load(replace(real, teacher=str(headless)), Notes(said.append))
    assert work.random_head
    assert any("no trained head" in line for line in said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": 0}, "--rows: expected a whole number from 1"),
        ({"tokens": 0}, "--tokens: expected a whole number from 3"),
        ({"batch_size": 0}, "--batch-size: expected a whole number from 1"),
        ({"shape_only": False}, "--tokens: random tokens are timed with --shape-only alone"),
        ({"tokens": 4096}, "at most 512 tokens"),
        ({"dtype": "int8"}, "--dtype"),
        ({"student": "no-such-model"}, "no architecture can be loaded"),
    ],
)
def test_what_cannot_be_timed_is_refused(tiny: Any, change: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        load(replace(tiny, **change))


def test_a_shape_of_the_hub_is_that_of_a_revision(
    monkeypatch: pytest.MonkeyPatch, tiny: Any
) -> None:
    asked: list[tuple[Any, ...]] = []

    def from_hub(name: str, **named: Any) -> Any:
        asked.append((name, named))
        return config_of("1x64")

    monkeypatch.setattr("logitcache.bench.models.AutoConfig.from_pretrained", from_hub)
    load(replace(tiny, teacher="org/name", revision="v2", trust_remote_code=True))
    assert asked == [("org/name", {"revision": "v2", "trust_remote_code": True})]
