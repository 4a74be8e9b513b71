"""Tiny random checkpoints of the model families that `transformers` registers for sequence
classification.

``build`` saves a family's model and its tokenizer to a folder: two layers, 32 wide, weights large
enough that rows get different answers, no dropout. Sizes are shrunk by the names of a
configuration's attributes; what a family needs besides stands in ``FAMILIES``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.families.tokenizers_of import MAKERS

LABELS = ("negative", "neutral", "positive")
POSITIONS = 80  # positions a model can read; rows are cut at MAX_LENGTH tokens
MAX_LENGTH = 64

SIZES: Mapping[str, Any] = {
    **dict.fromkeys(
        (
            "hidden_size",
            "d_model",
            "n_embd",
            "emb_dim",
            "dim",
            "embedding_size",
            "word_embed_proj_dim",
        ),
        32,
    ),
    **dict.fromkeys(
        (
            "num_hidden_layers",
            "n_layer",
            "n_layers",
            "num_layers",
            "encoder_layers",
            "decoder_layers",
        ),
        2,
    ),
    **dict.fromkeys(
        ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads"), 2
    ),
    **dict.fromkeys(
        ("decoder_attention_heads", "num_decoder_layers", "num_key_value_heads", "num_kv_heads"), 2
    ),
    **dict.fromkeys(
        ("intermediate_size", "d_ff", "d_inner", "dff", "ffn_dim", "encoder_ffn_dim", "hidden_dim"),
        64,
    ),
    **dict.fromkeys(("decoder_ffn_dim", "ffn_hidden_size", "moe_intermediate_size"), 64),
    **dict.fromkeys(("shared_expert_intermediate_size", "pooler_hidden_size"), 32),
    **dict.fromkeys(
        ("head_dim", "d_head", "d_kv", "v_head_dim", "qk_nope_head_dim", "kv_channels"), 16
    ),
    **dict.fromkeys(("qk_rope_head_dim", "kv_lora_rank", "q_lora_rank"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), POSITIONS),
    **dict.fromkeys(("n_routed_experts", "num_local_experts", "num_experts"), 4),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts"), 1),
    **dict.fromkeys(("num_experts_per_tok",), 2),
    **dict.fromkeys(("router_jitter_noise", "input_jitter_noise"), 0.0),
    "first_k_dense_replace": 0,
    **dict.fromkeys(("initializer_range", "init_std", "embed_init_std"), 0.25),
}
SPECIAL = ("pad", "bos", "eos", "cls", "sep", "mask")


@dataclass(frozen=True)
class Family:
    """How a family's tiny model differs from the general one."""

    tokenizer: str  # of tokenizers_of.MAKERS
    config: Mapping[str, Any] = field(default_factory=dict)
    proteins: bool = False  # reads letters of amino acids, not words
    parts: tuple[str, ...] = ()  # nested configurations


def _of(tokenizer: str, **config: Any) -> Family:
    return Family(tokenizer, config)


_HYBRID = {"layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 2}
_HYBRID |= {"linear_num_value_heads": 2, "linear_key_head_dim": 16, "linear_value_head_dim": 16}
_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
_WINDOW = {"sliding_window": 8}
_ROBERTA = {"max_position_embeddings": POSITIONS + 2}

FAMILIES: Mapping[str, Family] = {
    "albert": _of("albert", embedding_size=16),
    "arcee": _of("llama3"),
    "axk1": _of("falcon"),
    "axk2": _of("falcon"),
    "bart": _of("roberta"),
    "bert": _of("bert"),
    "big_bird": _of("big_bird", block_size=8),
    "bigbird_pegasus": _of("pegasus", block_size=8),
    "biogpt": _of("biogpt"),
    "bloom": _of("bloom"),
    "camembert": _of("camembert", **_ROBERTA),
    "canine": _of(
        "canine", local_transformer_stride=16, num_hash_buckets=64, max_position_embeddings=128
    ),
    "cohere_compass_text": _of(
        "cohere", rope_parameters={"full_attention": _ROPE, "sliding_attention": _ROPE}, **_WINDOW
    ),
    "convbert": _of("bert"),
    "ctrl": _of("ctrl"),
    "data2vec-text": _of("roberta", **_ROBERTA),
    "deberta": _of(
        "deberta", relative_attention=True, pos_att_type=["c2p", "p2c"], position_biased_input=False
    ),
    "deberta-v2": _of(
        "deberta-v2",
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
        conv_kernel_size=3,
        conv_act="gelu",
    ),
    "deepseek_v2": _of("deepseek", num_experts_per_tok=2),
    "deepseek_v3": _of("deepseek"),
    "diffllama": _of("llama2"),
    "distilbert": _of("distilbert"),
    "doge": _of("llama3-pad"),
    "electra": _of("bert", embedding_size=16),
    "ernie": _of("bert"),
    "esm": Family("esm", {"emb_layer_norm_before": False, "token_dropout": True}, proteins=True),
    "esmc": Family("esmc", {}, proteins=True),
    "eurobert": _of("eurobert"),
    "exaone4": _of("olmo2", **_WINDOW),
    "falcon": _of("falcon"),
    "flaubert": _of("xlm"),
    "fnet": _of("fnet"),
    "funnel": _of("funnel", block_sizes=[1, 1]),
    "gemma": _of("gemma"),
    "gemma2": _of("gemma", **_WINDOW),
    "gemma3": Family("gemma", parts=("text_config", "vision_config")),
    "gemma3_text": _of("gemma", **_WINDOW),
    "glm": _of("glm"),
    "glm4": _of("glm"),
    "gpt-sw3": _of("gpt-sw3"),
    "gpt2": _of("gpt2"),
    "gpt_bigcode": _of("gpt2"),
    "gpt_neo": _of("gpt2", attention_types=[[["global", "local"], 1]], window_size=8),
    "gpt_neox": _of("neox"),
    "gpt_oss": _of("olmo2", **_WINDOW),
    "gptj": _of("gpt2", rotary_dim=8),
    "gte": _of("xlm-roberta"),
    "helium": _of("jamba"),
    "hunyuan_v1_dense": _of("olmo2", head_dim=16),
    "hunyuan_v1_moe": _of("olmo2", moe_topk=2, head_dim=16),
    "ibert": _of("roberta", **_ROBERTA),
    "jamba": _of("jamba", attn_layer_period=2, attn_layer_offset=1, mamba_dt_rank=8),
    "jetmoe": _of("llama2"),
    "jina_embeddings_v3": _of("xlm-roberta", **_ROBERTA),
    "layoutlm": _of("bert"),
    "layoutlmv3": _of("layoutlmv3", coordinate_size=4, shape_size=8, **_ROBERTA),
    "lilt": _of("roberta", hidden_size=48, **_ROBERTA),
    "llama": _of("llama3"),
    "longformer": _of("roberta", attention_window=8, **_ROBERTA),
    "luke": _of("luke", entity_emb_size=16, entity_vocab_size=4, **_ROBERTA),
    "markuplm": _of("markuplm", max_depth=5, xpath_unit_hidden_size=8, **_ROBERTA),
    "mbart": _of("mbart"),
    "megatron-bert": _of("bert"),
    "minicpm3": _of("llama2"),
    "minimax": _of("falcon", block_size=8),
    "ministral": _of("llama2", head_dim=16, **_WINDOW),
    "ministral3": _of("tekken"),
    "mistral": _of("llama2", **_WINDOW),
    "mistral4": _of("tekken", head_dim=32),
    "mixtral": _of("llama2", **_WINDOW),
    "mobilebert": _of("mobilebert", intra_bottleneck_size=32, true_hidden_size=32),
    "modernbert": _of("modernbert", local_attention=8),
    "modernbert-decoder": _of("modernbert", local_attention=8),
    "modernvbert": Family("modernbert", parts=("text_config", "vision_config")),
    "mpnet": _of("mpnet", **_ROBERTA),
    "mpt": _of("neox"),
    "mt5": _of("t5"),
    "mvp": _of("mvp"),
    "nemotron": _of("llama2", num_key_value_heads=2),
    "nomic_bert": _of("bert"),
    "nystromformer": _of("albert", num_landmarks=8, segment_means_seq_len=8),
    "olmo": _of("neox"),
    "olmo2": _of("olmo2"),
    "olmo3": _of("olmo2", **_WINDOW),
    "openai-gpt": _of("openai-gpt"),
    "opt": _of("opt"),
    "perceiver": _of(
        "perceiver",
        num_latents=8,
        d_latents=32,
        num_self_attends_per_block=2,
        num_self_attention_heads=2,
    ),
    "persimmon": _of("llama2"),
    "phi": _of("gpt2"),
    "phi3": _of("phi3"),
    "phimoe": _of("phi3"),
    "plbart": _of("plbart"),
    "qwen2": _of("qwen2"),
    "qwen2_moe": _of("qwen2"),
    "qwen3": _of("qwen2"),
    "qwen3_5": Family("qwen3_5", _HYBRID, parts=("text_config", "vision_config")),
    "qwen3_5_text": _of("qwen3_5", **_HYBRID),
    "qwen3_moe": _of("qwen2"),
    "qwen3_next": _of("qwen2", **_HYBRID),
    "reformer": _of(
        "reformer",
        attn_layers=["local", "lsh"],
        axial_pos_shape=[8, 16],
        axial_pos_embds_dim=[16, 16],
        hash_seed=0,
        lsh_attn_chunk_length=8,
        local_attn_chunk_length=8,
        feed_forward_size=64,
        attention_head_size=16,
        num_buckets=4,
    ),
    "rembert": _of("rembert", input_embedding_size=16),
    "roberta": _of("roberta", **_ROBERTA),
    "roberta-prelayernorm": _of("roberta", **_ROBERTA),
    "roc_bert": _of("roc_bert", pronunciation_vocab_size=20, shape_vocab_size=20),
    "roformer": _of("roformer"),
    "seed_oss": _of("llama3-pad"),
    "smollm3": _of("olmo2"),
    "squeezebert": _of(
        "bert", q_groups=2, k_groups=2, v_groups=2, intermediate_groups=2, output_groups=2
    ),
    "stablelm": _of("neox-eos"),
    "starcoder2": _of("gpt2"),
    "t5": _of("t5", decoder_start_token_id=0),
    "t5gemma": Family("gemma", parts=("encoder", "decoder")),
    "t5gemma2": Family("gemma", parts=("encoder", "decoder")),
    "tapas": _of("tapas"),
    "ultrabert": _of("modernbert", **_WINDOW),
    "ultravbert": Family("modernbert", parts=("text_config", "vision_config")),
    "umt5": _of("umt5"),
    "xlm": _of("xlm"),
    "xlm-roberta": _of("xlm-roberta", **_ROBERTA),
    "xlm-roberta-xl": _of("xlm-roberta", **_ROBERTA),
    "xlnet": _of("xlnet"),
    "xmod": _of("xlm-roberta", default_language="en_XX", **_ROBERTA),
    "yoso": _of("albert", num_hash=4, hash_code_len=3, type_vocab_size=2, **_ROBERTA),
    "zamba": _of("jamba", layers_block_type=["hybrid", "mamba", "hybrid"], num_hidden_layers=3),
    "zamba2": _of("jamba", chunk_size=8, layers_block_type=["mamba", "hybrid"]),
}

LEFT_OUT: Mapping[str, str] = {
    "layoutlmv2": "its code needs detectron2, which is not installed",
    "mra": "its attention needs a CUDA kernel; on a CPU it answers every row alike",
}


def shrunk(config: PreTrainedConfig, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a small configuration of this one's class: sizes by name, then ``changes``."""
    default = config.to_dict()
    names = set(default) | set(config.attribute_map)
    sizes = {
        name: value
        for name, value in SIZES.items()
        if name in names and default.get(name, 1) is not None
    }
    sizes |= {
        name: 0.0 for name in names if "drop" in name and isinstance(default.get(name), float)
    }
    return {**sizes, **changes}


def configuration(name: str, tokenizer: Any) -> PreTrainedConfig:
    """A family's small configuration, with its tokenizer's numbers of special tokens, as real
    checkpoints have them.
    """
    family, kind = FAMILIES[name], CONFIG_MAPPING[name]
    default = kind()
    special = {}
    for token in SPECIAL:
        number = getattr(tokenizer, f"{token}_token_id", None)
        if number is not None:
            special[f"{token}_token_id"] = number
    vocabulary = {"vocab_size": len(tokenizer)}
    labels = {
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: i for i, label in enumerate(LABELS)},
    }
    changes = {**vocabulary, **family.config}
    parts = {
        part: _part(getattr(default, part), {**vocabulary, **special, **family.config})
        for part in family.parts
    }
    return kind(**shrunk(default, changes), **special, **labels, **parts)


def _part(config: PreTrainedConfig, changes: Mapping[str, Any]) -> dict[str, Any]:
    """A nested configuration of the same kind, shrunk."""
    known = {name: value for name, value in changes.items() if hasattr(config, name)}
    inner = {
        name: value for name, value in vars(config).items() if isinstance(value, PreTrainedConfig)
    }
    parts = {name: _part(value, changes) for name, value in inner.items()}
    return {"model_type": config.model_type, **shrunk(config, known), **parts}


def build(name: str, folder: Path, seed: int = 0) -> Path:
    """Save a family's tiny model, with random weights of this seed, and its tokenizer; the folder
    they are in.
    """
    out = folder / name
    out.mkdir(parents=True)
    torch.manual_seed(seed)
    with quiet():
        tokenizer = MAKERS[FAMILIES[name].tokenizer](out)
        tokenizer.model_max_length = MAX_LENGTH
        model = AutoModelForSequenceClassification.from_config(configuration(name, tokenizer))
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
    return out


def tokenizer_facts(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's tokenizer as `transformers` loads it: its class, its kind of pieces, and how
    it pads.
    """
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return {
        "tokenizer": type(tokenizer).__name__,
        "pieces": type(tokenizer).__name__ if backend is None else type(backend.model).__name__,
        "padding_side": tokenizer.padding_side,
        "pad_token": tokenizer.pad_token,
        "inputs": list(tokenizer.model_input_names),
    }


@contextmanager
def quiet() -> Iterator[None]:
    """`transformers` without remarks, warnings and progress bars."""
    logging = transformers.utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
