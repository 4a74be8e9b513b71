"""The caches that teach a run: those that are named, or those of the workspace. No torch."""

from __future__ import annotations

from logitcache.cache.cache import Cache
from logitcache.cache.joined import Joined
from logitcache.cache.joining import by_part, join, join_parts
from logitcache.config.methods import METHODS
from logitcache.config.terms import signal_options
from logitcache.config.train import TrainConfig
from logitcache.data.source import UNLABELLED_SPLIT, Rows, Source
from logitcache.data.tasks.classification import Classification
from logitcache.reporter import Reporter
from logitcache.stages.workspace import find_cache


def unlabelled_of(method: str, source: Source) -> Rows | None:
    """The rows of the ``unlabelled`` split, if the method learns from them."""
    return source.splits.get(UNLABELLED_SPLIT) if METHODS[method].needs_teacher else None


def starts_of(method: str, source: Source) -> dict[str, int]:
    """The parts of a training set, and the row_id each begins with."""
    starts = {"train": 0}
    if unlabelled_of(method, source) is not None:
        starts[UNLABELLED_SPLIT] = len(source.table("train"))
    return starts


def teacher_of(
    config: TrainConfig, source: Source, train: Rows, task: Classification, reporter: Reporter
) -> Joined | None:
    """The caches that are named, or (for kd) those of the workspace; None for a method without.
    ``train`` holds the training rows, numbered by part. Raises what ``join`` and ``find_cache``
    raise.
    """
    if not config.caches:
        if not METHODS[config.method].reads_cache:
            return None
        return workspace_teacher(config, source, train, task, reporter)
    caches = list(map(Cache.open, config.caches))
    return join(
        caches,
        starts_of(config.method, source),
        config.teachers,
        task=task,
        label_map=config.label_map,
        rows=train,
    )


def workspace_teacher(
    config: TrainConfig, source: Source, train: Rows, task: Classification, reporter: Reporter
) -> Joined:
    """The one cache of each part in the workspace. Raises SpecError for none or several."""
    starts = starts_of(config.method, source)
    # A teacher fine-tuned on another seed's draw has been trained on rows that this one holds out.
    is_drawn = source.division is not None and source.division.seed is not None
    name = source.name if is_drawn else None
    options = f" {task.option}".rstrip() + signal_options(config.method, task.answer)
    caches = {}
    for part, (_, texts) in by_part(train, starts).items():
        table = source.table(part)
        cache = find_cache(config.workspace, table, part, name, texts, task.name, options)
        reporter.note(f"teacher: {cache!r}")
        caches[part] = [cache]
    return join_parts(caches, starts, task=task, label_map=config.label_map)
