"""``logitcache bench dump``: the inference stage against the ways people put rows to a teacher without it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from logitcache.config.bench import DumpBenchConfig
from logitcache.reporter import NOTES

from .options import Command, as_json, check_out, options, typed
from .progress import finish_bench, intervals


@click.command(cls=Command, short_help="Measure a dump against bare forward passes and the pipeline.")
@options("bench dump")
@as_json
def command(as_json: bool, out: Path | None, **values: Any) -> None:
    """Measure a whole dump beside the bare forward pass over the same batches, over batches of 32 rows in file order
    and padded to the longest there may be, and `transformers.pipeline`: in turn, in one process.
    """
    config = typed(DumpBenchConfig, values)
    check_out(out)
    from logitcache.bench.dump import bench

    finish_bench(bench(config, ["logitcache", *sys.argv[1:]], NOTES), out, as_json, render)


def render(told: dict[str, Any]) -> str:
    """The table that ends the bench."""
    setting, device = told["setting"], told["machine"]["device"]
    teacher, peak = setting["teacher"], told["peak"]
    lines = [
        f"teacher    {teacher['name']} ({teacher['parameters'] / 1e6:.1f} M parameters, {setting['head']} head), "
        f"{setting['precision']} on {device['name']}",
        f"rows       {setting['rows']:,} of {setting['data']}, {setting['tokens']:.1f} tokens each",
        "",
        f"{'':19}{'seconds':>9}{'rows/s':>11}{'÷ dump':>9}{'':18}{'of peak':>9}{'tokens, padded':>16}",
        *(_line(case, setting, (peak or {}).get("share", {})) for case in told["cases"]),
    ]
    if told["dump_to_bare_forward"] is not None:
        lines += ["", f"{'dump ÷ bare forward':28}{_ratio(told['dump_to_bare_forward'])}"]
    lines += intervals([told["dump_to_bare_forward"], *(case["ratio_to_dump"] for case in told["cases"])])
    if peak is not None:
        lines.append(f"peak       {peak['flops_per_second'] / 1e9:,.0f} GFLOPs a second of {peak['dtype']} products")
    if told["where"] is not None:
        whole = sum(told["where"].values())
        parts = ", ".join(f"{name} {seconds / whole:.1%}" for name, seconds in told["where"].items())
        lines.append(f"one dump   {whole:.3g} s: {parts}; {told['written_behind']:.3g} s written meanwhile")
    if told["batches"]:
        rates = ", ".join(f"{each['batch_tokens']}: {each['rows_per_second']:,.0f}" for each in told["batches"])
        lines.append(f"rows/s     by padded tokens of a batch: {rates}")
    for each in told["memory"]:
        lines.append(f"memory     {each['peak_bytes'] / 2**20:,.0f} MiB for {each['rows']:,} rows (tiny teacher)")
    return "\n".join([*lines, *([] if told["complete"] else ["", "interrupted: this is what was measured until then"])])


def _line(case: dict[str, Any], setting: dict[str, Any], share: dict[str, float]) -> str:
    name = case["name"]
    if case["error"] is not None:
        return f"{name:19}{case['error']}"
    figures = f"{case['seconds']['median']:9.3g}{case['rows_per_second']:11,.0f}"
    ratio = f"{_ratio(case['ratio_to_dump']):>27}" if case["ratio_to_dump"] else " " * 27
    return f"{name:19}{figures}{ratio}{share.get(name, 0.0):9.1%}{setting['padded_tokens'][name]:16,}"


def _ratio(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"
