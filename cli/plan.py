"""``logitcache plan``: what a dump and a study would cost, before either is begun."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import click
from click.core import ParameterSource

from .options import (
    as_json,
    classes,
    data_options,
    dtype,
    finetune_options,
    max_length,
    notify,
    places,
    print_json,
    stored_options,
    student_options,
    tokens,
)

# Options that a workload has by the same names.
SAME = (
    *("student", "teacher", "data", "data_seed", "tokens", "classes", "max_length", "batch_size", "accumulate"),
    *("group_by_length", "init", "vocabulary", "dtype", "precision", "device", "shape_only", "revision"),
    *("trust_remote_code", "seed"),
)
# Options of `dump` and `train` that decide no cost, and those that would make a dump cheaper than is foretold.
NO_COST = {
    "dump": ("out", "label_map", "on_nonfinite", "overwrite", "finetune_learning_rate", "finetune_seed"),
    "train": (
        *("out", "alpha", "a", "temperature", "tau_squared", "learning_rate", "weight_decay", "warmup", "select"),
        *("metric", "checkpoint_steps", "report_to", "overwrite", "label_map"),
    ),
}
NOT_COUNTED = {"dump": ("reuse", "part", "workers"), "train": ("cache", "teachers")}


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
        click.option("--revision", help="Branch, tag or commit of the teacher on the hub."),
        click.option(
            "--trust-remote-code", is_flag=True, help="Run the code that the teacher brings along. Off unless said."
        ),
        click.option(
            "--shape-only", is_flag=True, help="Draw the weights and the tokens: only the rows' lengths are the data's."
        ),
        tokens,
        classes,
        max_length("either model"),
        stored_options,
        dtype,
        student_options,
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


def passed_over(command: click.Command) -> click.Command:
    """Let a command take, unseen, the options of `dump` and `train` that it has no use for."""
    from .dump import command as dump
    from .train import command as train

    taken = {param.name for param in command.params}
    for source, names in ((dump, _unused("dump")), (train, _unused("train"))):
        for param in source.params:
            if param.name in names and param.name not in taken:
                hidden = copy(param)
                hidden.hidden = True  # type: ignore[attr-defined]  # an option
                command.params.append(hidden)
                taken.add(param.name)
    return command


def _unused(name: str) -> tuple[str, ...]:
    return NO_COST[name] + NOT_COUNTED[name]


@passed_over
@click.command(short_help="Say what a dump and a study would cost, before either is begun.")
@plan_options(data_options)
@click.option("--split", default="train", show_default=True, help="The split that is dumped.")
@finetune_options
@click.option(
    "--epochs",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    show_default=True,
    help="Passes over the rows, of each run.",
)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Runs of each method.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="One of base, ls, tf-reg, self-kd, kd; several times for several. Default: all five.",
)
@click.option("--price-per-hour", type=float, help="Of the machine, in any currency.")
@click.option(
    "--rows", type=click.IntRange(1), help="Train on that many labelled rows only; with --tokens: all rows there are."
)
@click.option(
    "--no-calibrate",
    is_flag=True,
    help="Run nothing: FLOPs and a table of devices, and the share of a peak it assumes.",
)
@as_json
def command(as_json: bool, **options: Any) -> None:
    """Foretell disk, time, memory and money of a dump, of each method, and of all epochs, seeds and methods together.

    Nothing is run but some seconds of the real thing: some of the teacher's batches, some training steps. Takes every
    option of `dump` and `train`; those that decide no cost, such as --alpha, are passed over.
    """
    from logitcache.cost.plan import plan

    _say_unused(click.get_current_context())
    told = plan(asked(**options), notify).to_dict()
    print_json(told) if as_json else click.echo(render(told))


def _say_unused(context: click.Context) -> None:
    """On stderr: what was typed and changes nothing."""
    said = {
        "passed over, as it decides no cost": NO_COST,
        "not counted: all rows are foretold, asked by one process": NOT_COUNTED,
    }
    for why, names in said.items():
        typed = [
            param.opts[0]
            for param in context.command.params
            if param.name in {*names["dump"], *names["train"]}
            and context.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
        ]
        if typed:
            notify(f"{', '.join(typed)}: {why}")


def asked(**options: Any) -> Any:
    """What the options say, as the library takes it."""
    from logitcache.cost.costs import METHODS
    from logitcache.cost.ready import PlanAsked
    from logitcache.cost.workload import Asked
    from logitcache.pipeline.finetune import Finetune

    rows, drawn = options["rows"], options["tokens"] is not None or "split" not in options
    work = Asked(
        **{name: options[name] for name in SAME},
        **places(options),
        rows=rows if drawn else None,
        student_tokenizer=options["tokenizer"],
    )
    named = ("unlabelled", "split", "epochs", "seeds", "price_per_hour")
    trained = {name: options[f"finetune_{name}"] for name in ("epochs", "batch_size", "seed") if "finetune" in options}
    return PlanAsked(
        work,
        **{name: options[name] for name in named if name in options},
        codec=options["codec"],
        batch_tokens=options["batch_tokens"],
        shard_rows=options["shard_rows"],
        store=options["format"],
        finetune=Finetune(options.get("finetune", "auto"), folds=options.get("folds"), **trained),
        rows=None if drawn else rows,
        methods=tuple(options.get("methods") or METHODS),
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
    if dump["finetune"] is not None:
        first = dump["finetune"]
        lines.append(
            f"before     {duration(first['seconds'])} to train the teacher, {first['steps']:,} steps, "
            f"{gigabytes(first['memory_bytes'])} of memory"
        )
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
    more = f"; with teachers in the loop {duration(3600 * total['online_hours'])}" if "kd" in told["methods"] else ""
    more += "" if total["kwh"] is None else f"; {total['kwh']:.3g} kWh"
    more += "" if total["money"] is None else f"; {total['money']:.2f} to pay"
    after = told["break_even_epochs"]
    paid = "never" if after is None else f"after {after:.2f} epochs x students"
    lines = [
        f"in all     {total['epochs']:g} epochs x {total['seeds']} seeds of these methods: "
        f"{duration(total['seconds'])}{more}",
        f"break-even {paid}: then the cache has taken less time than the teacher in the loop",
    ]
    if "kd" not in told["methods"]:
        lines = lines[:1]
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
