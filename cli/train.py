"""``logitcache train``: one student, one method, one seed."""

from __future__ import annotations

import json
from typing import Any

import click

from .options import (
    CACHE,
    Here,
    as_json,
    checkpoint_options,
    data_options,
    label_map,
    max_length,
    notify,
    print_json,
    progress,
    student_options,
)


@click.command(short_help="Train a student: base, ls, tf-reg, self-kd or kd.")
@click.option(
    "--method",
    type=click.Choice(["base", "ls", "tf-reg", "self-kd", "kd"]),
    required=True,
    help="Where the soft half of the target comes from.",
)
@data_options
@click.option(
    "--student",
    default="2x128",
    show_default=True,
    help="A checkpoint's folder or hub name, or LAYERSxWIDTH: a small BERT with fresh weights and a vocabulary learnt "
    "from the rows.",
)
@checkpoint_options
@student_options
@click.option(
    "--cache",
    type=CACHE,
    multiple=True,
    help="The teacher's answers. Several: of labelled and unlabelled rows, or of teachers to average. Default for kd: "
    "the one cache of these rows in the workspace.",
)
@label_map("the cache")
@click.option("--teachers", type=click.Choice(["mean"]), help="Average the answers of several caches of the same rows.")
@click.option(
    "--folds", type=click.IntRange(2), help="self-kd: that many first copies, each trained without the rows it answers."
)
@click.option(
    "--out",
    type=Here(),
    help="The result's folder. Default: in the workspace, by data, method and seed.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Decides fresh weights, dropout and the order of rows."
)
@click.option(
    "--alpha", type=float, help="Weight of the soft target. Default: 0.1 for ls, 0.5 for tf-reg, self-kd and kd."
)
@click.option("--a", type=float, help="TF-reg's probability of the label. Default: 0.95.")
@click.option("--temperature", type=float, help="Softens teacher and student in kd and self-kd. Default: 1.")
@click.option(
    "--tau-squared/--no-tau-squared",
    default=None,
    help="Multiply the soft term by the squared temperature. Default: yes.",
)
@click.option(
    "--epochs", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True, help="Passes over the rows."
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    help="Default: 2e-5 for pretrained weights, 5e-4 for random ones.",
)
@click.option("--weight-decay", type=click.FloatRange(0), default=0.01, show_default=True, help="AdamW's.")
@click.option(
    "--warmup",
    type=click.FloatRange(0, 0.99),
    default=0.06,
    show_default=True,
    help="Share of the steps with a rising learning rate.",
)
@max_length("the student")
@click.option(
    "--rows", type=click.IntRange(2), help="Train on that many labelled rows only: the same for every method and seed."
)
@click.option(
    "--select",
    type=click.Choice(["best", "last"]),
    help="Weights to keep: best on dev, or last. Default: best where there is a dev split.",
)
@click.option(
    "--metric",
    help="What `best` means: accuracy, macro_f1, mcc, or f1 (two classes). Default: the preset's, else accuracy.",
)
@click.option(
    "--checkpoint-steps",
    type=click.IntRange(1),
    help="Steps after which a checkpoint is taken, besides those after each epoch.",
)
@click.option("--report-to", default="none", show_default=True, help="Where Trainer logs to, such as tensorboard.")
@click.option("--overwrite", is_flag=True, help="Lose what the result folder holds.")
@as_json
def command(as_json: bool, **options: Any) -> None:
    """Train one student. The result folder loads with transformers.pipeline.

    Running the same command again goes on where it stopped, or returns what is there.
    """
    from logitcache.api import train
    from logitcache.errors import Locked

    with progress() as bars:
        out = train(**options, notify=notify, on_step=bars.begin("train"))
    try:
        result = json.loads((out / "result.json").read_text())
    except FileNotFoundError:
        raise Locked("another command has begun to overwrite this result. Run this one again.", where=out) from None
    keys = ("method", "seed", "metrics", "seconds_per_step", "peak_memory_bytes", "cache_fingerprint")
    if as_json:
        print_json({"out": str(out), **{key: result[key] for key in keys}})
    else:
        click.echo(out)
