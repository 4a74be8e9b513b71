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
from .progress import print_json


@click.command(cls=Command, short_help="Read every byte of a cache against its checksums.")
@click.argument("cache", type=CACHE)
@options("verify")
@as_json
def command(cache: Path | str, as_json: bool, live: int | None, seed: int, **values: Any) -> None:
    """Read every byte of a cache against its checksums, and name each fault. Ends with 3 where there is one.

    With --live, ask the teacher about some rows again: ends with 4 where its answers are further off than they are from
    themselves in other batches.
    """
    config = typed(AgainConfig, values)
    from logitcache.cache.cache import Cache

    opened = Cache.open(cache, look=False)
    faults, checked = opened.verify(), opened.manifest.bytes
    again = None if faults or live is None else ask_again(cache, live, seed, config)
    if as_json:
        found = {"ok": not faults, "checked": checked, "faults": [asdict(fault) for fault in faults]}
        print_json({**found, "live": None if again is None else vars(again)})
    for fault in () if as_json else faults:
        click.echo(visible(f"{cache}/{fault}"))
    if not faults and not as_json:
        click.echo(f"{cache}: {checked:,} bytes in {len(opened.manifest.receipts)} shards are as they were written")
    if again is not None and not as_json:
        click.echo(render_live(again))
    if faults or not (again is None or again.agrees):
        click.get_current_context().exit((CorruptShard if faults else FingerprintMismatch).exit_code)


def ask_again(cache: Path | str, rows: int, seed: int, config: AgainConfig) -> Any:
    """What the teacher says of some rows now."""
    from logitcache.api import verify_asked

    return verify_asked(cache, rows, config, seed=seed, reporter=progress())


def render_live(found: Any) -> str:
    """What asking again has shown, the verdict last."""
    lines = [
        f"asked again  {found.rows:,} rows; {found.same_bytes:,} gave the same bytes",
        f"difference   {found.difference:.3g} at most (row {found.worst_row}); KL {found.kl_mean:.3g} on average, "
        f"{found.kl_max:.3g} at most",
        f"control      {found.control:.3g} at most, the teacher asked for a row alone and beside a copy of it",
    ]
    lines += [f"condition    {name}: {was} in the cache, {now} here" for name, (was, now) in found.conditions.items()]
    verdict = (
        "the teacher says what the cache holds" if found.agrees else "the teacher does NOT say what the cache holds"
    )
    return "\n".join([*map(visible, lines), f"verdict      {verdict} (allowed: {found.allowed:.3g})"])
