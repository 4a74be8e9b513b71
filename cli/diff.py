"""``logitcache diff``: how far two caches of the same rows differ. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from logitcache.errors import short

from .options import CACHE, Command, as_json
from .progress import lines, show

UNCOMPARED = {
    "moved": "of these at another place in B",
    "only_a": "only in A",
    "only_b": "only in B",
    "skipped_a": "answered in B alone",
    "skipped_b": "answered in A alone",
    "unanswered": "answered in neither",
    "positions_a": "positions kept in A alone",
    "positions_b": "positions kept in B alone",
}


@click.command(cls=Command)
@click.argument("a", type=CACHE)
@click.argument("b", type=CACHE)
@as_json
def command(a: Path | str, b: Path | str, as_json: bool) -> None:
    """Compare the answers of caches A and B row by row, joined by their texts, and say what of
    their fingerprints and conditions differs.
    """
    from logitcache.cache.cache import Cache
    from logitcache.cache.diff import difference

    show(vars(difference(Cache.open(a), Cache.open(b))), as_json, render)


def render(difference: dict[str, Any]) -> str:
    """The difference as lines of `name value`."""
    return lines([*_rows(difference), *_answers(difference), *_fields(difference)])


def _rows(difference: dict[str, Any]) -> Iterator[tuple[str, str]]:
    unanswered = difference["skipped"] - difference["skipped_a"] - difference["skipped_b"]
    counts = {**difference, "unanswered": unanswered}
    parts = [f"{difference['rows']:,} compared"]
    parts += [f"{counts[key]:,} {text}" for key, text in UNCOMPARED.items() if counts[key]]
    yield "A", difference["a"]
    yield "B", difference["b"]
    yield "rows", "; ".join(parts)


def _answers(difference: dict[str, Any]) -> Iterator[tuple[str, str]]:
    variation = difference["variation"]
    best = f"another in {difference['disagreement']:.2%} of the rows"
    if difference["largest_difference"] == 0 and (
        difference["identical"] or not difference["signals"]
    ):
        rows = "" if difference["identical"] else " in the rows compared"
        yield "answers", f"the same to the last stored bit{rows}"
    elif variation:
        values = ", ".join(f"{name} {value:.3g}" for name, value in variation.items())
        yield "total variation of the stored words", values
        yield "words", f"others in {difference['other_words']:.2%} of the positions"
        yield "best word", best
    elif difference["kl_ab"]["max"] or not difference["signals"]:
        yield "KL(A||B)", _divergence(difference["kl_ab"])
        yield "KL(B||A)", _divergence(difference["kl_ba"])
        yield "logits", f"at most {difference['largest_difference']:.3g} apart"
        yield "best class", best
    for name, spread in difference["signals"].items():
        figures = ", ".join(f"{key} {value:.3g}" for key, value in spread.items())
        yield name, f"relative difference {figures}"
    for row in difference["worst"]:
        classes = row["class_a"]
        if row["class_b"] != classes:
            classes = f"{classes} / {row['class_b']}"
        distance = f"total variation {row['variation']:.3g}" if variation else _divergences(row)
        yield f"row {row['row']}", f"{distance}, {classes}"


def _divergences(row: dict[str, Any]) -> str:
    return f"KL {row['kl_ab']:.3g} and {row['kl_ba']:.3g} nats"


def _divergence(statistics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in statistics.items()) + " nats"


def _fields(difference: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for heading, key in (("fingerprint", "fields"), ("condition", "conditions")):
        for name, (in_a, in_b) in difference[key].items():
            yield heading, f"{name}: {_short(in_a)} / {_short(in_b)}"


def _short(value: Any) -> str:
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return short(value)
