"""``logitcache verify``: every byte of a cache against its checksums. No torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from logitcache.config.dump import AgainConfig
from logitcache.errors import CorruptShard, FingerprintMismatch, visible
from logitcache.reporter import progress

from .options import CACHE, Command, as_json, options, typed
from .progress import lines, print_json


@click.command(cls=Command)
@click.argument("cache", type=CACHE)
@options("verify")
@as_json
def command(cache: Path | str, as_json: bool, live: int | None, seed: int, **values: Any) -> None:
    """Read every byte of a cache against its checksums, and name each fault. Ends with 3 where
    there is one.

    With --live, ask the teacher about some rows again: ends with 4 where its answers are further
    off than they are from themselves in other batches.
    """
    config = typed(AgainConfig, values)
    from logitcache.cache.cache import Cache

    opened = Cache.open(cache, check_sizes=False)
    manifest = opened.manifest
    faults = opened.verify()
    answers = None
    if live is not None and not faults:
        from logitcache.api import verify_config

        answers = asdict(verify_config(cache, live, config, seed=seed, reporter=progress()))
    if as_json:
        faulty = list(map(asdict, faults))
        print_json({"ok": not faults, "checked": manifest.bytes, "faults": faulty, "live": answers})
    else:
        for fault in faults:
            click.echo(visible(f"{cache}/{fault}"))
        if not faults:
            click.echo(
                f"{cache}: {manifest.bytes:,} bytes in {len(manifest.receipts)} shards are as they were written"
            )
        if answers is not None:
            click.echo(render(answers))
    context = click.get_current_context()
    if faults:
        context.exit(CorruptShard.exit_code)
    if answers is not None and not answers["agrees"]:
        context.exit(FingerprintMismatch.exit_code)


def render(live: dict[str, Any]) -> str:
    """The teacher's new answers beside the cache's, with the verdict last."""
    same = live["same_bytes"]
    answered = f"{live['rows']:,} rows"
    if same is not None:
        answered += f"; {same:,} gave the same bytes"
    divergence = ""
    if live["kl_mean"] is not None:
        divergence = f"; KL {live['kl_mean']:.3g} on average, {live['kl_max']:.3g} at most"
    of_what = "" if live["moved"] is None else " of entropies"
    pairs = [
        ("asked again", answered),
        (
            "difference",
            f"{live['difference']:.3g}{of_what} at most (row {live['worst_row']}){divergence}",
        ),
        (
            "control",
            f"{live['control']:.3g} at most, the teacher asked for a row alone and beside a copy of it",
        ),
    ]
    if live["moved"] is not None:
        moved = (
            f"others in {live['moved']:.2%} of the positions (control: {live['moved_control']:.2%})"
        )
        pairs.append(("words", moved))
    for name, signal in live["signals"].items():
        figures = f"{signal['difference']:.3g} at most (row {signal['worst_row']})"
        figures += f"; control {signal['control']:.3g}, allowed {signal['allowed']:.3g}"
        pairs.append((name, figures))
    for name, (recorded, current) in live["conditions"].items():
        pairs.append(("condition", f"{name}: {recorded} in the cache, {current} here"))
    verb = "says" if live["agrees"] else "does NOT say"
    pairs.append(
        ("verdict", f"the teacher {verb} what the cache holds (allowed: {live['allowed']:.3g})")
    )
    return lines(pairs)
