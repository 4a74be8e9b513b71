"""Options of sentence encoders (``--task embedding``), and the rules that need nothing but options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from logitcache.config.data import EMBEDDING, GROUP
from logitcache.config.option import Cost, option
from logitcache.config.own import is_own
from logitcache.config.signals import OWN_VECTOR
from logitcache.config.terms import compares_vectors, summands_of
from logitcache.errors import SpecError

METRICS = ("spearman", "pearson")


def similarity() -> Any:
    return option(
        None,
        "For --task embedding: pairs of texts with a score of their similarity, a file or a folder of dev and test: "
        "columns sentence1, sentence2 and score, as STS-B has them. What is reported is Spearman's rank correlation "
        "of the scores with the cosines of the vectors.",
        group=GROUP,
        cost=Cost.NONE,
        recorded=False,  # by its rows
    )


def pooling(group: str, cost: Cost = Cost.NONE) -> Any:
    return option(
        None,
        "For --task embedding: how a teacher without modules.json makes one vector of a text, which is scaled to "
        "length 1: the mean of its tokens, or the first token (cls). Default: as its modules.json says.",
        choices=("mean", "cls"),
        group=group,
        cost=cost,
    )


def check_similarity(task: str | None, similarity: str | None) -> None:
    """Raises SpecError for pairs beside a task that does not score them."""
    if similarity is not None and task != EMBEDDING:
        raise _of_embedding("--similarity", task)


def _of_embedding(flag: str, task: str | None) -> SpecError:
    return SpecError(
        expected=f"--task {EMBEDDING}",
        found=task or "no task",
        advice=f"Add --task {EMBEDDING}, or leave {flag} out.",
        where=flag,
    )


def check_method(task: str | None, methods: Sequence[str]) -> None:
    """Raises SpecError for a sentence encoder's method beside another task."""
    if EMBEDDING in methods:
        raise _of_embedding("--method embedding", task)


def check_student(task: str | None, method: str, student: str) -> None:
    """Raises SpecError for a sentence encoder that is to learn other things than vectors."""
    if task != EMBEDDING:
        return
    if not compares_vectors(method):
        raise SpecError(
            expected="a method that compares vectors alone",
            found=f"--method {method}",
            advice="Give --method embedding, or a sum such as embedding=1,tinybert=1.",
            where=f"--task {EMBEDDING}",
        )
    if any("pooling" in summand.settings for summand in summands_of(method)):
        raise SpecError(
            expected="no pooling of its own: vectors are pooled as each sentence encoder's modules.json says",
            found=f"--method {method}",
            advice="Leave pooling= out; a dump's --pooling is that of a teacher without modules.json.",
            where=f"--task {EMBEDDING}",
        )
    if is_own(student):
        raise SpecError(
            expected="a checkpoint of transformers, or a shape",
            found=student,
            advice="Name one of them, for example 2x128.",
            where=f"--task {EMBEDDING}, --student",
        )


def check_teacher(
    task: str | None, pooling: str | None, *, own_codec: bool, is_trained: bool
) -> None:
    """Raises SpecError for what only sentence encoders have a use for, and for what they have none
    for: a codec of logits (``own_codec``: one is named), or a teacher that is not trained yet, or no
    model.
    """
    if task != EMBEDDING:
        if pooling is not None:
            raise _of_embedding("--pooling", task)
        return
    if own_codec:
        raise SpecError(
            expected=f"vectors, as --task {EMBEDDING} keeps no logits",
            found="a codec of logits",
            advice=f"Leave it out, or give --signal {OWN_VECTOR},dtype=bfloat16.",
            where="--codec",
        )
    if not is_trained:
        raise SpecError(
            expected=f"a sentence encoder that is trained, for --task {EMBEDDING}",
            found="a shape, answers that exist already, or --finetune always",
            advice="Name a folder or hub name of sentence-transformers.",
            where="--teacher",
        )
