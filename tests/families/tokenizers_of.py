"""Small tokenizers of the kinds that model families have: their class or template, special tokens,
padding side, and inputs. Built offline; each function makes one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import transformers
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import PreTrainedTokenizerFast

from tests.families import vocabularies

BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
TYPED = ["input_ids", "token_type_ids", "attention_mask"]
# the folder is for vocabulary files, where a tokenizer is made of files only
Maker = Callable[[Path], Any]


def wordpiece(
    folder: Path, *, cls: str = "BertTokenizer", special: Sequence[str] = BERT, **settings: Any
) -> Any:
    """WordPiece of a class of its own, as BERT's."""
    return getattr(transformers, cls)(vocab=vocabularies.wordpieces(special), **settings)


def byte_bpe(folder: Path, *, cls: str, special: Sequence[str], **settings: Any) -> Any:
    """Byte-level BPE of a class of its own, as GPT-2's and RoBERTa's."""
    vocabulary, merges = vocabularies.byte_merges(special)
    return getattr(transformers, cls)(vocab=vocabulary, merges=merges, **settings)


def blank_bpe(folder: Path, *, cls: str, special: Sequence[str], **settings: Any) -> Any:
    """Sentencepiece's BPE of a class of its own, as Gemma's."""
    vocabulary, merges = vocabularies.blank_merges(special)
    return getattr(transformers, cls)(vocab=vocabulary, merges=merges, **settings)


def unigram(folder: Path, *, cls: str, special: Sequence[str], **settings: Any) -> Any:
    """Sentencepiece's unigrams of a class of its own, as XLNet's and T5's."""
    return getattr(transformers, cls)(vocab=vocabularies.scored(special), **settings)


def characters(folder: Path, *, cls: str, **settings: Any) -> Any:
    """A class that needs no vocabulary: characters or bytes."""
    return getattr(transformers, cls)(**settings)


def backend(
    folder: Path,
    *,
    form: str,
    special: Sequence[str],
    single: str = "",
    pair: str = "",
    **settings: Any,
) -> Any:
    """A tokenizer of `tokenizers` under no class of its own. ``single`` and ``pair`` are templates
    with ``$A`` and ``$B``; empty: no special token is added.
    """
    tokenizer = FORMS[form](special)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in special]
    )
    if single:
        numbers = [(token, tokenizer.token_to_id(token)) for token in special]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=single, pair=pair, special_tokens=numbers
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings)


def _wordpiece_form(special: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabularies.wordpieces(special), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _byte_form(special: Sequence[str]) -> Tokenizer:
    vocabulary, merges = vocabularies.byte_merges(special)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _blank_form(special: Sequence[str]) -> Tokenizer:
    vocabulary, merges = vocabularies.blank_merges(special)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend(vocabularies.BLANK), normalizers.Replace(" ", vocabularies.BLANK)]
    )
    return tokenizer


def _ended_form(special: Sequence[str]) -> Tokenizer:
    vocabulary, merges = vocabularies.ended_merges(special)
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", end_of_word_suffix="</w>")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _unigram_form(special: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(
        models.Unigram(vocabularies.scored(special), unk_id=list(special).index("<unk>"))
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


FORMS: dict[str, Callable[[Sequence[str]], Tokenizer]] = {
    "wordpiece": _wordpiece_form,
    "byte-level BPE": _byte_form,
    "sentencepiece BPE": _blank_form,
    "BPE with ends of words": _ended_form,
    "unigram": _unigram_form,
}


def _ctrl(folder: Path) -> Any:
    """CTRL's, of files: pieces within a word end in ``@@``; neither a padding nor an end token."""
    pieces = [
        "<unk>",
        *vocabularies.WORDS,
        *vocabularies.LETTERS,
        *(f"{letter}@@" for letter in vocabularies.LETTERS),
    ]
    _, merges = vocabularies.ended_merges(())
    (folder / "vocab.json").write_text(json.dumps(vocabularies.numbered(pieces)))
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges) + "\n"
    )
    return transformers.CTRLTokenizer(folder / "vocab.json", folder / "merges.txt")


def _esm(folder: Path) -> Any:
    pieces = ["<cls>", "<pad>", "<eos>", "<unk>", *vocabularies.AMINO_ACIDS, "<mask>"]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    return transformers.EsmTokenizer(folder / "vocab.txt")


def _tapas(folder: Path) -> Any:
    pieces = vocabularies.wordpieces((*BERT, "[EMPTY]"))
    (folder / "vocab.txt").write_text("\n".join(pieces))
    return transformers.TapasTokenizer(folder / "vocab.txt")


def _roc_bert(folder: Path) -> Any:
    """RoCBert's: beside each piece its shape and its pronunciation, here its number modulo 20."""
    pieces = vocabularies.wordpieces(BERT)
    (folder / "vocab.txt").write_text("\n".join(pieces))
    for name in ("word_shape", "word_pronunciation"):
        (folder / f"{name}.json").write_text(
            json.dumps({piece: number % 20 for piece, number in pieces.items()})
        )
    return transformers.RoCBertTokenizer(
        folder / "vocab.txt", folder / "word_shape.json", folder / "word_pronunciation.json"
    )


def _markuplm(folder: Path) -> Any:
    return byte_bpe(folder, cls="MarkupLMTokenizer", special=FAIRSEQ, tags_dict={"html": 0, "p": 1})


TEXT_END = "<|endoftext|>"
_LLAMA3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|pad|>")
_LLAMA2 = ("<unk>", "<s>", "</s>", "<pad>")
_TYPED_PAIR = "[CLS] $A [SEP] $B:1 [SEP]:1"
_bytes = partial(backend, form="byte-level BPE")
_blanks = partial(
    backend,
    form="sentencepiece BPE",
    special=_LLAMA2,
    unk_token="<unk>",
    bos_token="<s>",
    eos_token="</s>",
)
_opened = {"single": "<s> $A", "pair": "<s> $A <s> $B"}
_albert = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
_llama3 = partial(
    _bytes,
    special=_LLAMA3,
    bos_token=_LLAMA3[0],
    eos_token=_LLAMA3[1],
    single=f"{_LLAMA3[0]} $A",
    pair=f"{_LLAMA3[0]} $A {_LLAMA3[0]} $B",
)
_plain = partial(_bytes, special=(TEXT_END, "<|pad|>"), eos_token=TEXT_END)
_modern = partial(
    _bytes,
    special=BERT,
    unk_token="[UNK]",
    cls_token="[CLS]",
    sep_token="[SEP]",
    pad_token="[PAD]",
    mask_token="[MASK]",
    single="[CLS] $A [SEP]",
    pair="[CLS] $A [SEP] $B [SEP]",
    model_input_names=TYPED[::2],
)
_named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_moses = partial(backend, form="BPE with ends of words", special=FAIRSEQ, **_named)
_closed = partial(
    backend, form="unigram", special=("<pad>", "</s>", "<unk>"), eos_token="</s>", unk_token="<unk>"
)

MAKERS: dict[str, Maker] = {
    "albert": partial(unigram, cls="AlbertTokenizer", special=_albert, model_input_names=TYPED),
    "bert": wordpiece,
    "big_bird": partial(
        unigram, cls="BigBirdTokenizer", special=("<pad>", "</s>", "<s>", "<unk>", "[SEP]", "[CLS]")
    ),
    "biogpt": partial(_moses, single="</s> $A", pair="</s> $A </s> $B", sep_token="</s>"),
    "bloom": partial(_plain, pad_token="<|pad|>", padding_side="left"),
    "camembert": partial(
        unigram, cls="CamembertTokenizer", special=("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>")
    ),
    "canine": partial(characters, cls="CanineTokenizer"),
    "cohere": partial(_llama3, pad_token="<|pad|>", padding_side="left"),
    "ctrl": _ctrl,
    "deberta": partial(byte_bpe, cls="DebertaTokenizer", special=BERT),
    "deberta-v2": partial(
        unigram, cls="DebertaV2Tokenizer", special=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    ),
    "deepseek": partial(_llama3, pad_token=_LLAMA3[1], padding_side="left"),
    "distilbert": partial(wordpiece, model_input_names=TYPED[::2]),
    "esm": _esm,
    "esmc": partial(characters, cls="EsmcTokenizer"),
    "eurobert": partial(
        _llama3,
        pad_token="<|pad|>",
        single=f"{_LLAMA3[0]} $A {_LLAMA3[1]}",
        pair=f"{_LLAMA3[0]} $A {_LLAMA3[1]} $B {_LLAMA3[1]}",
    ),
    "falcon": _plain,
    "fnet": partial(unigram, cls="FNetTokenizer", special=_albert),
    "funnel": partial(
        wordpiece,
        cls="FunnelTokenizer",
        model_input_names=TYPED,
        special=("<pad>", "<unk>", "<cls>", "<sep>", "<mask>", "<s>", "</s>"),
    ),
    "gemma": partial(
        blank_bpe,
        cls="GemmaTokenizer",
        special=("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"),
        add_bos_token=True,
    ),
    "glm": partial(
        _bytes,
        special=(TEXT_END, "[gMASK]", "<sop>"),
        eos_token=TEXT_END,
        pad_token=TEXT_END,
        padding_side="left",
        single="[gMASK] <sop> $A",
        pair="[gMASK] <sop> $A $B",
    ),
    "gpt-sw3": partial(
        _closed, special=("<pad>", "<s>", "</s>", "<unk>"), bos_token="<s>", pad_token="<pad>"
    ),
    "gpt2": partial(byte_bpe, cls="GPT2Tokenizer", special=(TEXT_END,)),
    "jamba": partial(_blanks, pad_token="<pad>", padding_side="left", **_opened),
    "layoutlmv3": partial(byte_bpe, cls="LayoutLMv3Tokenizer", special=FAIRSEQ),
    "llama2": partial(_blanks, padding_side="left", **_opened),
    "llama3": _llama3,
    "llama3-pad": partial(_llama3, pad_token="<|pad|>"),
    "luke": partial(
        byte_bpe,
        cls="LukeTokenizer",
        special=FAIRSEQ,
        entity_vocab={"[PAD]": 0, "[UNK]": 1, "[MASK]": 2, "[MASK2]": 3},
    ),
    "markuplm": _markuplm,
    "mbart": partial(unigram, cls="MBartTokenizer", special=FAIRSEQ[:4]),
    "mobilebert": partial(wordpiece, cls="MobileBertTokenizer"),
    "modernbert": _modern,
    "mpnet": partial(
        wordpiece, cls="MPNetTokenizer", special=("<s>", "<pad>", "</s>", "[UNK]", "<mask>")
    ),
    "mvp": partial(byte_bpe, cls="MvpTokenizer", special=FAIRSEQ),
    "neox": partial(byte_bpe, cls="GPTNeoXTokenizer", special=(TEXT_END, "<|padding|>")),
    "neox-eos": partial(byte_bpe, cls="GPTNeoXTokenizer", special=(TEXT_END,), pad_token=TEXT_END),
    "olmo2": partial(_plain, pad_token="<|pad|>"),
    "openai-gpt": partial(
        lambda folder, **settings: transformers.OpenAIGPTTokenizer(
            **dict(zip(("vocab", "merges"), vocabularies.ended_merges(["<unk>"]), strict=True))
        )
    ),
    "opt": partial(
        byte_bpe,
        cls="GPT2Tokenizer",
        special=FAIRSEQ[:4],
        bos_token="</s>",
        eos_token="</s>",
        unk_token="</s>",
        pad_token="<pad>",
        add_bos_token=True,
    ),
    "pegasus": partial(_closed, pad_token="<pad>", single="$A </s>", pair="$A $B </s>"),
    "perceiver": partial(characters, cls="PerceiverTokenizer"),
    "phi3": partial(_blanks, pad_token="<pad>", padding_side="left"),
    "plbart": partial(
        _closed,
        pad_token="<pad>",
        special=("<s>", "<pad>", "</s>", "<unk>", "__en__"),
        single="$A </s> __en__",
        pair="$A $B </s> __en__",
    ),
    "qwen2": partial(byte_bpe, cls="Qwen2Tokenizer", special=(TEXT_END,)),
    "qwen3_5": partial(byte_bpe, cls="Qwen3_5Tokenizer", special=(TEXT_END,)),
    "reformer": partial(blank_bpe, cls="ReformerTokenizer", special=("<unk>", "<s>", "</s>")),
    "rembert": partial(
        unigram,
        cls="RemBertTokenizer",
        special=("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
        model_input_names=TYPED,
    ),
    "roberta": partial(byte_bpe, cls="RobertaTokenizer", special=FAIRSEQ),
    "roc_bert": _roc_bert,
    "roformer": partial(
        backend,
        form="wordpiece",
        special=BERT,
        single="[CLS] $A [SEP]",
        pair=_TYPED_PAIR,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        mask_token="[MASK]",
        model_input_names=TYPED,
    ),
    "t5": partial(unigram, cls="T5Tokenizer", special=("<pad>", "</s>", "<unk>")),
    "tapas": _tapas,
    "tekken": partial(_llama3, pad_token="<|pad|>", padding_side="left"),
    "umt5": partial(_closed, pad_token="<pad>", single="$A </s>", pair="$A </s> $B </s>"),
    "xlm": partial(
        _moses, single="<s> $A </s>", pair="<s> $A </s> $B </s>", sep_token="</s>", cls_token="</s>"
    ),
    "xlm-roberta": partial(unigram, cls="XLMRobertaTokenizer", special=FAIRSEQ),
    "xlnet": partial(
        unigram,
        cls="XLNetTokenizer",
        special=("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>"),
        model_input_names=TYPED,
    ),
}
