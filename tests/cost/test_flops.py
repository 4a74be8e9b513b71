"""FLOPs on paper: the papers' shapes and ratios, and what torch counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from logitcache.bench.models import config_of, random_model
from logitcache.cost import flops
from logitcache.cost.flops import (
    Device,
    Shape,
    expected_cached_ratio,
    expected_online_ratio,
    forward_flops,
    shape_of,
)
from logitcache.errors import SpecError
from tests.shortly import slow

ROBERTA_LARGE, DISTILROBERTA = Shape(302_000_000, 0, 0, 24, 1024), Shape(42_500_000, 0, 0, 6, 768)


def on_paper(name: str) -> Shape:
    with torch.device("meta"):
        return shape_of(random_model(config_of(name), 2))


@pytest.mark.parametrize(
    ("name", "all_m", "inner_m"),
    [
        ("roberta-large", 355.4, 302.0),
        ("distilroberta-base", 82.1, 42.5),
        ("bert-large-uncased", 335.1, 302.0),
        ("bert-small", 28.8, 12.6),
        ("gpt2", 124.4, 84.9),
        ("distilgpt2", 81.9, 42.5),
    ],
)
def test_shapes_of_published_models(name: str, all_m: float, inner_m: float) -> None:
    shape = on_paper(name)
    assert shape.parameters / 1e6 == pytest.approx(all_m, abs=0.1)
    assert shape.body / 1e6 == pytest.approx(inner_m, rel=0.003)
    assert shape.inner == shape.body + shape.head


@pytest.mark.parametrize(
    ("n_teacher", "n_student", "online", "epochs", "of_epochs", "of_seeds"),
    [
        (302.0, 42.5, 3.37, 30, 1.079, 1.016),
        (302.0, 12.6, 9.00, 30, 1.267, 1.053),
        (84.9, 42.5, 1.667, 30, 1.022, 1.004),
        (84.9, 42.5, 1.667, 6, 1.111, 1.022),
        (1.0, 1.0, 1.333, 30, 1.011, 1.002),
    ],
)
def test_expected_ratios(
    n_teacher: float,
    n_student: float,
    online: float,
    epochs: int,
    of_epochs: float,
    of_seeds: float,
) -> None:
    assert expected_online_ratio(n_teacher, n_student) == pytest.approx(online, abs=0.011)
    assert expected_cached_ratio(n_teacher, n_student, epochs) == pytest.approx(
        of_epochs, abs=0.001
    )
    assert expected_cached_ratio(n_teacher, n_student, epochs, 5) == pytest.approx(
        of_seeds, abs=0.001
    )


@pytest.mark.parametrize(("length", "ratio"), [(64, 3.36), (128, 3.35), (512, 3.31)])
def test_attention_weighs_less_in_the_wide_model(length: int, ratio: float) -> None:
    found = 1 + forward_flops(ROBERTA_LARGE, 32, length) / flops.step_flops(
        DISTILROBERTA, 32, length
    )
    assert found == pytest.approx(ratio, abs=0.006)


def counted(model: Any, rows: int, length: int, *, backward: bool) -> int:
    with FlopCounterMode(display=False) as counter:
        logits = model(input_ids=torch.zeros(rows, length, dtype=torch.int64, device="meta")).logits
        if backward:
            logits.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("name", "rows", "length"),
    [
        ("2x128", 8, 64),
        ("bert-small", 3, 17),
        ("distilroberta-base", 3, 17),
        slow(("2x128", 3, 17)),
        slow(("bert-small", 8, 64)),
        slow(("distilroberta-base", 8, 64)),
    ],
)
def test_the_formula_is_what_torch_counts(name: str, rows: int, length: int) -> None:
    config = config_of(name)
    config._attn_implementation = "eager"  # whose products the counter sees on every device
    with torch.device("meta"):
        model = random_model(config, 2)
    shape = shape_of(model)
    forward = counted(model, rows, length, backward=False)
    assert forward_flops(shape, rows, length) == pytest.approx(forward, rel=0.02)
    assert flops.step_flops(shape, rows, length) == pytest.approx(
        counted(model, rows, length, backward=True), rel=0.02
    )


def test_the_optimiser_makes_the_teacher_weigh_less() -> None:
    teacher, student = on_paper("roberta-large"), on_paper("distilroberta-base")
    bare = expected_online_ratio(teacher.body, student.body)
    with_rest = flops.counted_online_ratio(teacher, student, 32, 24)
    assert 1 < with_rest < bare
    assert flops.counted_online_ratio(teacher, student, 32, 24, 48) > 1.9 * (with_rest - 1)


@pytest.mark.parametrize(
    ("called", "known"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA L4", "L4"),
        ("h100", "H100"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
    ],
)
def test_gpus_are_known_by_what_torch_calls_them(called: str, known: str) -> None:
    found = flops.gpu(called)
    assert found is not None
    assert found.name == known


@pytest.mark.parametrize("called", ["NVIDIA L40S", "NVIDIA GH200 480GB", "cuda", ""])
def test_others_are_not_taken_for_them(called: str) -> None:
    assert flops.gpu(called) is None


def test_what_a_device_has_no_units_for_runs_in_single_precision() -> None:
    device = Device("x", {"float32": 1e12, "float16": 4e12}, 1e11, 0.5)
    assert [device.reached(dtype) for dtype in ("float32", "float16", "bfloat16")] == [
        5e11,
        2e12,
        5e11,
    ]
    shape = Shape(1000, 0, 0, 1, 1)
    assert device.step_seconds(shape, 1, 1) == pytest.approx((3 * 2004) / 5e11 + 40_000 / 1e11)


def test_a_model_without_a_known_width_is_refused() -> None:
    class Odd(torch.nn.Module):
        config = type("Config", (), {"model_type": "odd", "num_layers": 2})()

    with pytest.raises(SpecError, match=r"names its width .* found odd"):
        shape_of(Odd())


@pytest.mark.parametrize("tied", [True, False])
def test_the_arithmetic_of_a_language_model_is_what_torch_counts(tied: bool) -> None:
    """Body and transform at every token, the output matrix at the kept positions alone."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=500,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=256,
        tie_word_embeddings=tied,
        attn_implementation="eager",
    )
    model = BertForMaskedLM(config).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.ones(4, 32, dtype=torch.long))
    counted = flops.forward_cost(model).of_batch(4, 32, 4 * 32)
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.02)
    fewer = flops.forward_cost(model).of_batch(4, 32, 5)
    assert counted - fewer == 2 * 500 * 64 * (4 * 32 - 5)
