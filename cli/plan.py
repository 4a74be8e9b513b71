"""``logitcache plan``: what a dump and a study would cost, before either is begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .options import as_json, checkpoint_options, data_options, notify, print_json

# Options that a workload has by the same names.
SAME = (
    *("student", "teacher", "data", "data_seed", "rows", "tokens", "classes", "max_length", "batch_size"),
    *("dtype", "precision", "device", "shape_only", "revision", "trust_remote_code", "seed"),
)


def plan_options(rows: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Add the options that say what is to be dumped and trained; ``rows`` adds those that say on which rows."""
    options = (
        click.option(
            "--teacher",
            required=True,
            help="As for `dump`; with --shape-only also a folder with config.json, or a name such as roberta-large.",
        ),
        click.option("--student", default="2x128", show_default=True, help="As for `train`, and as --teacher."),
        rows,
        checkpoint_options,
        click.option(
            "--shape-only", is_flag=True, help="Draw the weights and the tokens: only the rows' lengths are the data's."
        ),
        click.option(
            "--tokens",
            type=click.IntRange(2),
            help="With --shape-only: every row is that long, and no data is read. --rows says how many there are.",
        ),
        click.option(
            "--classes", type=click.IntRange(2), default=8, show_default=True, help="With --tokens: how many."
        ),
        click.option(
            "--codec",
            type=click.Choice(["float16", "float32"]),
            default="float16",
            show_default=True,
            help="What logits are stored in.",
        ),
        click.option(
            "--max-length",
            type=click.IntRange(2),
            default=128,
            show_default=True,
            help="Longest row either model sees, in tokens.",
        ),
        click.option(
            "--batch-tokens",
            type=click.IntRange(1),
            default=4096,
            show_default=True,
            help="Padded tokens of one teacher batch.",
        ),
        click.option(
            "--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Rows of one optimiser step."
        ),
        click.option(
            "--dtype",
            type=click.Choice(["float32", "bfloat16", "float16"]),
            default="float32",
            show_default=True,
            help="What the teacher computes in.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["fp32", "bf16", "fp16"]),
            default="fp32",
            show_default=True,
            help="Mixed precision of the student.",
        ),
        click.option(
            "--device",
            help="cpu, cuda, cuda:1; with --no-calibrate also a GPU that is not here, such as H100. Default: cuda if "
            "there is one.",
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Draws weights and the order of rows."),
    )

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.command(short_help="Say what a dump and a study would cost, before either is begun.")
@plan_options(data_options)
@click.option("--epochs", type=float, default=5.0, show_default=True, help="Passes over the rows, of each run.")
@click.option("--seeds", type=int, default=1, show_default=True, help="Runs of each method.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="One of base, ls, tf-reg, self-kd, kd; several times for several. Default: all five.",
)
@click.option("--price-per-hour", type=float, help="Of the machine, in any currency.")
@click.option("--rows", type=click.IntRange(1), help="With --tokens: how many rows there are.")
@click.option(
    "--no-calibrate",
    is_flag=True,
    help="Run nothing: FLOPs and a table of devices, and the share of a peak it assumes.",
)
@as_json
def command(as_json: bool, **options: Any) -> None:
    """Foretell disk, time, memory and money of a dump, of each method, and of all epochs, seeds and methods together.

    Nothing is run but some seconds of the real thing: some of the teacher's batches, some training steps.
    """
    from logitcache.cost.plan import plan

    told = plan(asked(**options), notify).to_dict()
    print_json(told) if as_json else click.echo(render(told))


def asked(**options: Any) -> Any:
    """What the options say, as the library takes it."""
    from logitcache.cost.costs import METHODS
    from logitcache.cost.plan import PlanAsked
    from logitcache.cost.workload import Asked
    from logitcache.data.source import Columns
    from logitcache.workspace import Workspace

    labels = options["labels"]
    names = None if labels is None else tuple(name.strip() for name in labels.split(","))
    work = Asked(
        **{name: options[name] for name in SAME},
        columns=Columns(options["text"], options["text_pair"], options["label"], names),
        workspace=Workspace(Path(options["workspace"])),
    )
    return PlanAsked(
        work,
        unlabelled=options.get("unlabelled"),
        codec=options["codec"],
        batch_tokens=options["batch_tokens"],
        epochs=options.get("epochs", 5.0),
        seeds=options.get("seeds", 1),
        methods=tuple(options.get("methods") or METHODS),
        price_per_hour=options.get("price_per_hour"),
        calibrate=not options.get("no_calibrate", False),
    )


def render(told: dict[str, Any]) -> str:
    """What a person reads of a plan."""
    setting, dump, total = told["setting"], told["dump"], told["total"]
    pair = f"{_model(setting['teacher'])} into {_model(setting['student'])}"
    lines = [
        f"plan       {pair}, {setting['data']}: {setting['rows']:,} rows, {setting['classes']} classes, on "
        f"{setting['device']}",
        f"dump       {duration(dump['seconds'])}, {dump['rows_per_second']:,.0f} rows/s, "
        f"{gigabytes(dump['memory_bytes'])} of memory",
    ]
    lines += [
        f"disk       {codec}: {size['bytes']:,} bytes ({size['bytes_per_row']:.0f} a row)"
        for codec, size in told["bytes"].items()
    ]
    lines += ["", f"{'method':<10} {'step':>10} {'epoch':>10} {'run':>10} {'memory':>10}"]
    for name, costed in told["methods"].items():
        times = (costed[f"{what}_seconds"] for what in ("step", "epoch", "run"))
        lines.append(
            f"{name:<10} "
            + " ".join(f"{each:>10}" for each in (*map(duration, times), gigabytes(costed["memory_bytes"])))
        )
    return "\n".join([*lines, "", *summary(told, total)])


def summary(told: dict[str, Any], total: dict[str, Any]) -> list[str]:
    """What all of it comes to."""
    more = f"; with teachers in the loop {duration(3600 * total['online_hours'])}"
    more += "" if total["kwh"] is None else f"; {total['kwh']:.3g} kWh"
    more += "" if total["money"] is None else f"; {total['money']:.2f} to pay"
    after = told["break_even_epochs"]
    paid = "never" if after is None else f"after {after:.2f} epochs x students"
    lines = [
        f"in all     {total['epochs']:g} epochs x {total['seeds']} seeds of these methods: "
        f"{duration(total['seconds'])}{more}",
        f"break-even {paid}: then the cache has taken less time than the teacher in the loop",
    ]
    return lines + [f"note       {note}" for note in told["notes"]]


def _model(told: dict[str, Any]) -> str:
    return f"{told['name']} ({told['parameters'] / 1e6:.1f} M)"


def duration(seconds: float) -> str:
    """In the unit that it is best read in."""
    for size, unit in ((3600, "h"), (60, "min"), (1, "s")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{1000 * seconds:.1f} ms"


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
