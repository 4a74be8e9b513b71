"""Models whose answers are made otherwise than by attention and one linear map: what is cached is
what they say by hand, and ``replay`` gives their logits, or is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from logitcache.api import dump, train
from logitcache.cache.cache import Cache
from logitcache.config.data import Columns
from logitcache.config.sequences import Sequences
from logitcache.config.teacher import DumpSettings
from logitcache.data.source import load
from logitcache.data.tasks.table import TASKS
from logitcache.errors import LogitCacheError, SpecError
from logitcache.reporter import SILENT
from logitcache.teacher.dump import dump_split
from logitcache.teacher.model import load_teacher
from tests.language.small_lms import make_tokenizer
from tests.language.test_families import by_hand

pytestmark = pytest.mark.usefixtures("whole_probes")

SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
MAMBA = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}
HYBRID = {**SHAPE, "mamba_d_state": 8, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1}
CAPPED = {"final_logit_softcapping": 2.0, "head_dim": 16}
# settings of a tiny one, and whether its logits can be replayed
ODD: dict[str, tuple[dict[str, Any], bool]] = {
    "recurrent_gemma": (
        {
            **SHAPE,
            "num_hidden_layers": 3,
            "lru_width": 32,
            "attention_window_size": 16,
            "logits_soft_cap": 2.0,
        },
        False,
    ),
    "hyperclovax": ({**SHAPE, "logits_scaling": 0.25}, False),
    "mamba": (MAMBA, True),
    "mamba2": ({**MAMBA, "num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 8}, True),
    "falcon_h1": ({**HYBRID, "mamba_d_ssm": 64, "lm_head_multiplier": 0.3, "head_dim": 16}, True),
    "bamba": ({**HYBRID, "attn_layer_indices": [1]}, True),
    "gpt_oss": ({**SHAPE, "head_dim": 16, "num_local_experts": 2, "num_experts_per_tok": 1}, True),
    "gemma2": ({**SHAPE, **CAPPED}, True),
    "gemma3_text": ({**SHAPE, **CAPPED}, True),
    "cohere": ({**SHAPE, "logit_scale": 0.3}, True),
    "cohere2": ({**SHAPE, "logit_scale": 0.3, "head_dim": 16}, True),
    "granite": ({**SHAPE, "logits_scaling": 5.0}, True),
    "minicpm3": (
        {
            **SHAPE,
            "num_key_value_heads": 2,
            "kv_lora_rank": 8,
            "q_lora_rank": 16,
            "qk_nope_head_dim": 8,
            "qk_rope_head_dim": 8,
            "v_head_dim": 8,
        },
        False,
    ),
    "xlstm": (
        {
            "hidden_size": 128,
            "qk_dim_factor": 1.0,
            "num_heads": 2,
            "num_hidden_layers": 2,
            "output_logit_soft_cap": 2.0,
            "mode": "inference",
        },
        False,
    ),
    "mpt": (
        {"d_model": 32, "n_layers": 2, "n_heads": 2, "max_seq_len": 64, "logit_scale": 0.5},
        False,
    ),
}


FAST = ("recurrent_gemma", "mamba2", "hyperclovax")


@pytest.mark.parametrize(
    "kind",
    [kind if kind in FAST else pytest.param(kind, marks=pytest.mark.slow) for kind in ODD],
)
def test_a_model_that_computes_otherwise_is_kept_as_it_is(
    kind: str, texts: Path, tmp_path: Path
) -> None:
    settings, can_replay = ODD[kind]
    tokenizer = make_tokenizer()
    named = {
        "bos_token_id": 1,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config: Any = transformers.AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), initializer_range=0.3, **named, **settings
    )
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "t")
    tokenizer.save_pretrained(tmp_path / "t")
    teacher = load_teacher(str(tmp_path / "t"), device="cpu", kind=TASKS["causal-lm"])
    source = load(str(texts), Columns(task="causal-lm"), tmp_path, SILENT)
    how = DumpSettings(codec="float32", sequences=Sequences(seq_len=20, pack=False))
    rows = teacher.as_rows(source, how, SILENT)
    dense = Cache.open(dump_split(teacher, rows, "train", tmp_path / "dense", how).cache)
    some = np.arange(0, len(dense), 7)
    tokens = dense.tokens(some)["input_ids"]
    for number, row in enumerate(some):
        ids = tokens.values[tokens.indptr[number] : tokens.indptr[number + 1]]
        answers = dense.take(np.array([row]))
        own = by_hand(teacher.model, ids)[answers.index]
        np.testing.assert_allclose(answers.logits, own, atol=2e-4)
    replay = DumpSettings(codec="replay", sequences=how.sequences)
    if can_replay:
        kept = Cache.open(dump_split(teacher, rows, "train", tmp_path / "replay", replay).cache)
        np.testing.assert_allclose(
            kept.take(some).logits, dense.take(some).logits, atol=2e-4, rtol=1e-4
        )
        return
    with pytest.raises(
        LogitCacheError, match=r"ForCausalLM: expected logits .* dump with another --codec"
    ):
        dump_split(teacher, rows, "train", tmp_path / "replay", replay)
    assert not (tmp_path / "replay").exists()


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_model_that_sees_the_next_token_neither_teaches_nor_learns_it(
    kind: str, lm: Callable[..., Path], texts: Path, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"workspace": tmp_path, "seq_len": 24}
    encoder = str(lm(kind))
    refused = "sees earlier tokens alone, .* whose answers depend on later tokens"
    with pytest.raises(SpecError, match=refused):
        dump(encoder, str(texts), task="causal-lm", device="cpu", **how)
    with pytest.raises(SpecError, match=refused):
        train("base", str(texts), task="causal-lm", student=encoder, **how)
    assert not any(tmp_path.rglob("plan.json"))
    assert not any(tmp_path.rglob("run.json"))
