"""Terms of a loss: the papers' formulas written out once more, gradients, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from logitcache.api import dump, train
from logitcache.cache.cache import Cache
from logitcache.cache.rows import stored_source
from logitcache.config.terms import TERMS
from logitcache.data.collate import Collator
from logitcache.data.preprocess.tokens import prepare
from logitcache.data.tasks.masked_lm import MaskedLM
from logitcache.errors import AlignmentError, SpecError
from logitcache.models.attention import attention_of
from logitcache.records import Ragged
from logitcache.student.distiller import Distiller
from logitcache.student.terms.contract import SignalTerm
from logitcache.student.terms.objective import SumObjective, bound_to
from logitcache.student.trainer import to_torch
from logitcache.teacher.model import LiveTeacher, load_teacher
from tests.language.small_lms import make_config, make_tokenizer
from tests.shortly import fast
from tests.student.test_relations import written_kl

SIGNALS = (
    "logits",
    "attention-input:1",
    "attention-input:2",
    "hidden:0",
    "hidden:1",
    "hidden:2",
    "pooled",
)

FIRST = np.arange(5)  # rows


@pytest.fixture(scope="module")
def dumped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Cache]:
    """A workspace with a tiny BERT's signals of some texts: (folder, data, cache of train)."""
    folder = tmp_path_factory.mktemp("terms")
    tokenizer = make_tokenizer("masked")
    torch.manual_seed(0)
    teacher = transformers.AutoModelForMaskedLM.from_config(make_config("bert", tokenizer))
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(3)  # or attention would be uniform
    teacher.save_pretrained(folder / "teacher")
    tokenizer.save_pretrained(folder / "teacher")
    draw = np.random.default_rng(0)
    lines = [
        " ".join(f"w{n}" for n in draw.integers(0, 40, draw.integers(3, 20))) for _ in range(60)
    ]
    rows = "".join(json.dumps({"text": line}) + "\n" for line in lines)
    (folder / "train.jsonl").write_text(rows)
    report = dump(
        str(folder / "teacher"), str(folder / "train.jsonl"), task="masked-lm", seq_len=16, pack=False,
        signal=SIGNALS, codec="float32", device="cpu", workspace=folder, notify=lambda line: None,
    )  # fmt: skip
    return folder, folder / "train.jsonl", Cache.open(report.cache)


def student_of(width: int = 32, heads: int = 2, layers: int = 2, **more: Any) -> Any:
    config = make_config("bert", make_tokenizer("masked"))
    config.hidden_size, config.num_attention_heads, config.num_hidden_layers = width, heads, layers
    config.attention_probs_dropout_prob = config.hidden_dropout_prob = 0.0
    for name, value in more.items():
        setattr(config, name, value)
    torch.manual_seed(1)
    return transformers.AutoModelForMaskedLM.from_config(config).train()


def batch_of(cache: Cache, names: tuple[str, ...], rows: Any) -> Any:
    source = stored_source({"train": cache})
    tokenizer = make_tokenizer("masked")
    examples = prepare(tokenizer, source.split("train"), 16)
    task = MaskedLM(cache.codec.width, None)
    collator = Collator(examples, task, {"teacher": cache}, signals=names)
    return to_torch(collator(rows))["batch"], examples.padding


def loss_of(method: str, cache: Cache, student: Any, rows: Any = FIRST) -> tuple[Tensor, Any, Any]:
    """(the loss of a batch as training has it, the batch, the bound terms)."""
    objective = SumObjective.of(method)
    terms = objective.bound(student, cache) if objective.signal_terms else None
    names = () if terms is None else terms.teacher_signals
    batch, padding = batch_of(cache, names, rows)
    distiller = Distiller(
        student, objective, padding, per_token=True, width=cache.codec.width, terms=terms
    ).train()
    return distiller(batch)[0], batch, terms


def live(teacher: Any, batch: Any) -> Any:
    """Hidden states, attention inputs and the model's output, of a model called by hand."""
    inputs: list[Tensor] = []
    hooks = [
        layer.attention.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
        for layer in teacher.bert.encoder.layer
    ]
    out = teacher(**batch.inputs, output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    return SimpleNamespace(inputs=inputs, states=out.hidden_states, logits=out.logits)


def written_minilm(teacher: Any, student: Any, batch: Any, heads: int, layer: int) -> Tensor:
    """Of two models called by hand, in their layers of that number: the mean over rows, each by its
    masked tokens.
    """
    with torch.no_grad():
        theirs = live(teacher, batch).inputs[layer]
    ours = live(student, batch).inputs[layer]
    total = torch.zeros(())
    for row in range(len(batch.row_id)):
        length = int(batch.inputs["attention_mask"][row].sum())
        weight = float(batch.weight[batch.where[:, 0] == row].sum())
        for name in ("query", "key", "value"):
            maps = [
                getattr(one.bert.encoder.layer[layer].attention.self, name)
                for one in (teacher, student)
            ]
            vectors = [m(x[row, :length]) for m, x in zip(maps, (theirs, ours), strict=True)]
            total = total + weight * written_kl(*vectors, heads)
    return total


@pytest.mark.parametrize("heads", fast([0, 1, 4, 16], 0, 4))
def test_minilm_of_a_cache_is_the_papers_of_a_live_teacher(
    heads: int, dumped: tuple[Path, Path, Cache]
) -> None:
    folder, _, cache = dumped
    teacher = transformers.AutoModelForMaskedLM.from_pretrained(folder / "teacher").eval()
    student = student_of(width=16)
    loss, batch, _ = loss_of(f"minilm=1:heads={heads}", cache, student)
    expected = written_minilm(teacher, student, batch, heads or 2, 1)
    torch.testing.assert_close(loss, expected.float(), rtol=5e-3, atol=1e-3)
    parameter = student.bert.encoder.layer[0].attention.self.query.weight
    gradients = [
        torch.autograd.grad(one, parameter, retain_graph=True)[0] for one in (loss, expected)
    ]
    assert (gradients[0] - gradients[1]).norm() < 0.02 * gradients[1].norm()  # of stored halves


def test_minilm_v1_and_tinybert_are_the_papers(dumped: tuple[Path, Path, Cache]) -> None:
    folder, _, cache = dumped
    teacher = transformers.AutoModelForMaskedLM.from_pretrained(folder / "teacher").eval()
    student = student_of(width=16)
    v1, batch, _ = loss_of("minilm-v1", cache, student)
    tiny, _, terms = loss_of("tinybert", cache, student)
    bui, _, of_bui = loss_of("tinybert-bui", cache, student)
    with torch.no_grad():
        theirs = live(teacher, batch)
    ours = live(student, batch)
    expected = {"v1": 0.0, "tiny": 0.0, "bui": 0.0}
    for row in range(len(batch.row_id)):
        n = int(batch.inputs["attention_mask"][row].sum())
        weight = float(batch.weight[batch.where[:, 0] == row].sum())
        maps, values = {}, {}
        for who, model, seen in (("t", teacher, theirs), ("s", student, ours)):
            for layer in (0, 1):
                own = model.bert.encoder.layer[layer].attention.self
                q, k, v = (m(seen.inputs[layer][row, :n]) for m in (own.query, own.key, own.value))
                size = q.shape[1] // 2
                maps[who, layer] = torch.stack(
                    [
                        q[:, h * size :][:, :size] @ k[:, h * size :][:, :size].T / size**0.5
                        for h in (0, 1)
                    ]
                )
                values[who, layer] = v
        log_p, log_q = maps["t", 1].log_softmax(-1), maps["s", 1].log_softmax(-1)
        attention = (log_p.exp() * (log_p - log_q)).sum() / (2 * n)
        expected["v1"] += weight * (attention + written_kl(values["t", 1], values["s", 1], 2))
        scores = [((maps["t", layer] - maps["s", layer]) ** 2).mean() for layer in (0, 1)]
        for name, part, layers in (("tiny", terms, (0, 1, 2)), ("bui", of_bui, (2,))):
            states = [
                (
                    (theirs.states[layer][row, :n] - part.parts[0](ours.states[layer][row, :n]))
                    ** 2
                ).mean()
                for layer in layers
            ]
            expected[name] += weight * (sum(scores) + sum(states))
    for name, loss in (("v1", v1), ("tiny", tiny), ("bui", bui)):
        torch.testing.assert_close(
            loss, torch.as_tensor(expected[name]).float(), rtol=5e-3, atol=2e-3
        )


def test_vanilla_kd_has_both_reductions(dumped: tuple[Path, Path, Cache]) -> None:
    """The true cross-entropy of a token, and the authors' mean over tokens and words."""
    folder, _, cache = dumped
    teacher = transformers.AutoModelForMaskedLM.from_pretrained(folder / "teacher").eval()
    student = student_of()
    kd, batch, _ = loss_of("mlm=1,kd=1", cache, student)
    authors, _, _ = loss_of("mlm=1,kd=1:reduction=authors", cache, student)
    where = batch.where
    with torch.no_grad():
        p = teacher(**batch.inputs).logits[where[:, 0], where[:, 1]].softmax(1)
    log_q = student(**batch.inputs).logits[where[:, 0], where[:, 1]].log_softmax(1)
    gold = nn.functional.nll_loss(log_q, batch.label, reduction="sum")
    soft = -(p * log_q).sum()
    torch.testing.assert_close(kd, gold + soft, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(authors, gold + soft / log_q.shape[1], rtol=1e-4, atol=1e-3)
    alone, _, _ = loss_of("mlm=2", cache, student)
    torch.testing.assert_close(alone, 2 * gold, rtol=1e-4, atol=1e-3)


def test_embeddings_are_compared_by_direction_or_numbers(dumped: tuple[Path, Path, Cache]) -> None:
    _, _, cache = dumped
    student = student_of()
    found = {
        kind: loss_of(f"embedding=1:distance={kind}", cache, student) for kind in ("cosine", "mse")
    }
    batch = found["cosine"][1]
    mask = batch.inputs["attention_mask"][..., None].float()
    states = live(student, batch).states[-1]
    ours = (states * mask).sum(1) / mask.sum(1)
    theirs = batch.vectors["pooled:mean"].float()
    row_weight = torch.bincount(batch.where[:, 0], batch.weight, minlength=len(ours))
    cosine = 1 - nn.functional.cosine_similarity(theirs, ours)
    torch.testing.assert_close(
        found["cosine"][0], (cosine * row_weight).sum(), rtol=1e-4, atol=1e-4
    )
    mse = (theirs - ours).square().mean(1)
    torch.testing.assert_close(found["mse"][0], (mse * row_weight).sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["minilm", "tinybert", "mlm=1,kd=1,embedding=1"])
def test_a_live_teacher_teaches_what_its_cache_does(
    method: str, dumped: tuple[Path, Path, Cache]
) -> None:
    """And computes no head where no term wants its logits."""
    folder, _, cache = dumped
    rows = prepare(make_tokenizer("masked"), stored_source({"train": cache}).split("train"), 16)
    teacher = LiveTeacher(load_teacher(str(folder / "teacher"), device="cpu", kind=MaskedLM), rows)
    calls: list[int] = []
    head = teacher.teacher.model.get_output_embeddings()
    head.register_forward_hook(lambda *_: calls.append(1))
    student, objective = student_of(), SumObjective.of(method)
    task = MaskedLM(cache.codec.width, None)
    losses = []
    for one in (cache, teacher):
        torch.manual_seed(2)  # of a map that is learnt
        terms, collator = bound_to(objective, student, Collator(rows, task, {"teacher": one}))
        batch = to_torch(collator(np.arange(6)))["batch"]
        distiller = Distiller(
            student, objective, rows.padding, per_token=True, width=task.num_labels, terms=terms
        )
        losses.append(distiller.train()(batch)[0])
    torch.testing.assert_close(losses[0], losses[1], rtol=5e-3, atol=1e-3)
    assert bool(calls) == ("kd" in method)


@pytest.mark.parametrize("cut", [(1, 4), (2, 2, 1), (1, 1, 1, 1, 1)])
def test_terms_add_up_and_a_batch_may_be_cut(
    cut: tuple[int, ...], dumped: tuple[Path, Path, Cache]
) -> None:
    """Into micro-batches, each padded to its own longest row: loss and gradient of a step stay."""
    cache, student = dumped[2], student_of()
    summands = ("mlm=0.5", "kd=2", "minilm=3", "tinybert=1", "embedding=2")
    parts = [loss_of(method, cache, student)[0] for method in summands]
    whole = loss_of(",".join(summands), cache, student)[0]
    torch.testing.assert_close(whole, torch.stack(parts).sum(), rtol=1e-4, atol=1e-3)
    ends = np.cumsum(cut)
    pieces = [np.arange(end - size, end) for size, end in zip(cut, ends, strict=True)]
    losses = [loss_of(",".join(summands), cache, student, piece)[0] for piece in pieces]
    torch.testing.assert_close(torch.stack(losses).sum(), whole, rtol=1e-4, atol=1e-3)
    parameter = student.bert.embeddings.word_embeddings.weight
    gradients = [torch.autograd.grad(one, parameter)[0] for one in (sum(losses), whole)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-4)


def test_a_training_learns_from_signals_and_goes_on(dumped: tuple[Path, Path, Cache]) -> None:
    """A student of another width: what maps it to the teacher's is in its checkpoints."""
    folder, data, cache = dumped
    shape = folder / "student"
    student_of(width=16, bos_token_id=None).config.save_pretrained(shape)
    make_tokenizer("masked").save_pretrained(shape)
    named: dict[str, Any] = {
        "task": "masked-lm", "student": str(shape), "init": "random", "workspace": folder, "batch_size": 8,
        "epochs": 2, "select": "last", "cache": str(cache.folder), "learning_rate": 1e-3,
        "notify": lambda line: None,
    }  # fmt: skip
    for method in ("mlm=1,tinybert=1", "minilm"):
        result = train(method, str(data), out=folder / method.replace("=", "-"), **named)
        figures = json.loads((result / "result.json").read_text())
        assert np.isfinite(figures["metrics"]["train"]["nll"])


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("minilm=1:heads=5", {}, "heads that divides the teacher's width of 32, found 5"),
        ("minilm=1:layer=7", {}, "a layer of the teacher from 1 to 2, .*found 7"),
        ("minilm=1:layer=-3", {}, "a layer of the teacher from 1 to 2, .*found -3"),
        ("minilm=1:layer=0", {}, "a layer of the teacher from 1 to 2, .*found 0"),
        # once its projections were those of another layer than its states
        ("minilm=1:student_layer=-4", {}, "a layer of the student from 1 to 2, .*found -4"),
        (
            "minilm=1:variant=v1",
            {"heads": 4},
            r"2 attention heads, as its teacher, found 4\. Use minilm=1:variant=v2",
        ),
        ("tinybert=1", {"layers": 4}, "divides the teacher's .2., found 4"),
        (
            "tinybert=1:layers=2+3",
            {},
            r"2 layers of the teacher, from 1 to 2, joined by \+, found 2\+3",
        ),
        ("tinybert=1", {"heads": 4}, "2 attention heads, as its teacher, found 4"),
        (
            "embedding=1:pooling=first",
            {},
            r"expected a cache of the signal pooled:first, .*--signal logits .*--signal pooled:first",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    method: str, options: dict[str, int], words: str, dumped: tuple[Path, Path, Cache]
) -> None:
    with pytest.raises(SpecError, match=words):
        SumObjective.of(method).bound(student_of(**options), dumped[2])


def test_all_missing_signals_are_named_at_once(
    dumped: tuple[Path, Path, Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cache, "signals", {})
    names = ("logits", "attention-input:1", "attention-input:2", "hidden:0", "hidden:1", "hidden:2")
    options = " ".join(f"--signal {name}" for name in names)
    with pytest.raises(SpecError, match=f"Dump again with {options}, into a new --out"):
        SumObjective.of("tinybert").bound(student_of(), Cache.open(dumped[2].folder))


@dataclass(frozen=True)
class NormOfStates(SignalTerm):
    """A term from outside: the squared difference of the norms of the last hidden states."""

    def teacher_signals(self, teacher: Any, student: Any) -> list[str]:
        return [f"hidden:{teacher.layer(-1)}"]

    def student_signals(self, teacher: Any, student: Any) -> list[str]:
        return ["hidden:2"]

    def loss(self, batch: Any, teacher: Any, student: Any, modules: Any) -> Tensor:
        sides = (batch.teacher[f"hidden:{teacher.layer(-1)}"], batch.student["hidden:2"])
        norms = [(side.norm(dim=-1) * batch.is_token).sum(1) for side in sides]
        return (norms[0] - norms[1]).square()


def test_a_term_touches_two_places(
    dumped: tuple[Path, Path, Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file, and its line in the table."""
    monkeypatch.setitem(TERMS, "norm", f"{__name__}:NormOfStates")
    loss, _, _ = loss_of("mlm=1,norm=0.1", dumped[2], student_of())
    assert loss.isfinite()


def test_rows_of_other_tokens_are_refused(dumped: tuple[Path, Path, Cache]) -> None:
    """A row has as many tokens as vectors, or two tokenizers have read it."""
    cache = dumped[2]
    examples = prepare(make_tokenizer("masked"), stored_source({"train": cache}).split("train"), 16)
    column = examples.inputs["input_ids"]
    ends = np.maximum(column.indptr - (np.arange(len(column.indptr)) > 0), 0)  # the first lacks one
    shorter = replace(examples, inputs={"input_ids": Ragged(column.values, ends)})
    task = MaskedLM(cache.codec.width, None)
    collator = Collator(shorter, task, {"teacher": cache}, signals=("hidden:1",))
    with pytest.raises(AlignmentError, match=r"row 0 has .* tokens here, and .* Give --tokenizer"):
        collator(np.arange(2))


def test_the_students_attention_is_its_own() -> None:
    """Parameters, not copies: gradients reach them."""
    student = student_of()
    own = student.bert.encoder.layer[0].attention.self.query.weight
    assert attention_of(student, 1).query is own
