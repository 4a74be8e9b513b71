"""``logitcache diff``: how far two caches of the same rows differ. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from logitcache.errors import short, visible

from .options import CACHE, Command, as_json
from .progress import print_json

BESIDE = {
    "moved": "of these at another place in B",
    "only_a": "only in A",
    "only_b": "only in B",
    "skipped_a": "answered in B alone",
    "skipped_b": "answered in A alone",
    "unanswered": "answered in neither",
    "positions_a": "positions kept in A alone",
    "positions_b": "positions kept in B alone",
}


@click.command(cls=Command, short_help="Say how far two caches of the same rows differ.")
@click.argument("a", type=CACHE)
@click.argument("b", type=CACHE)
@as_json
def command(a: Path | str, b: Path | str, as_json: bool) -> None:
    """Compare the answers of caches A and B row by row, joined by their texts, and say what of their fingerprints and
    conditions differs.
    """
    from logitcache.cache.cache import Cache
    from logitcache.cache.diff import difference

    told = vars(difference(Cache.open(a), Cache.open(b)))
    print_json(told) if as_json else click.echo(render(told))


def render(told: dict[str, Any]) -> str:
    """The difference as lines of `name value`."""
    left = {**told, "unanswered": told["skipped"] - told["skipped_a"] - told["skipped_b"]}
    rest = "".join(f"; {left[key]:,} {words}" for key, words in BESIDE.items() if left[key])
    lines = [f"A            {told['a']}", f"B            {told['b']}", f"rows         {told['rows']:,} compared{rest}"]
    if told["largest_difference"] == 0:
        rows = "" if told["identical"] else " in the rows compared"
        lines.append(f"answers      the same to the last stored bit{rows}")
    else:
        for name, key in (("KL(A||B)", "kl_ab"), ("KL(B||A)", "kl_ba")):
            values = ", ".join(f"{what} {value:.3g}" for what, value in told[key].items())
            lines.append(f"{name}     {values} nats")
        lines.append(f"logits       at most {told['largest_difference']:.3g} apart")
        lines.append(f"best class   another in {told['disagreement']:.2%} of the rows")
    for row in told["worst"]:
        classes = row["class_a"] if row["class_a"] == row["class_b"] else f"{row['class_a']} / {row['class_b']}"
        lines.append(f"row {row['row']:<8} KL {row['kl_ab']:.3g} and {row['kl_ba']:.3g} nats, {classes}")
    for what, key in (("fingerprint", "fields"), ("condition", "conditions")):
        lines += [f"{what:<12} {name}: {_short(one)} / {_short(other)}" for name, (one, other) in told[key].items()]
    return "\n".join(map(visible, lines))


def _short(value: Any) -> str:
    return short(", ".join(map(str, value)) if isinstance(value, list) else value)
