"""A run whose rows lie in caches: those of a dump, and their tokenizer.

Every method of a comparison reads the same rows from the same caches, base and label smoothing too.
Where there is no cache, a method without a teacher makes its rows itself, as a dump would.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from logitcache import identity
from logitcache.cache.cache import Cache
from logitcache.config.methods import METHODS
from logitcache.config.option import options_of
from logitcache.config.sequences import Recipe, Sequences
from logitcache.config.terms import signal_options
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import Workspace
from logitcache.data.rows import Source
from logitcache.data.sources.find import UNLABELLED_SPLIT
from logitcache.errors import FingerprintMismatch, LogitCacheError, SpecError, short
from logitcache.models.tokenizer import tokenizer_fingerprint
from logitcache.models.tokenizer_files import write_tokenizer
from logitcache.reporter import Reporter
from logitcache.store import files
from logitcache.targets.table import without_fitted

# fields that the caches of one dump share
OF_A_DUMP = ("teacher", "preprocessor", "preparation", "targets")
Caches = dict[str, Cache]  # by split


def caches_of(config: TrainConfig, source: Source | None, reporter: Reporter) -> Caches:
    """The caches of one dump, by split: those that are named and those beside them, or those of
    this data in the workspace. Empty for none and no teacher. Raises SpecError.
    """
    if config.caches:
        caches = list(map(Cache.open, config.caches))
        return _checked(_with_siblings(caches), config)
    assert source is not None
    dumps = _dumps(config.workspace, source)
    reads_cache = METHODS[config.method].reads_cache
    if not dumps:
        if not reads_cache:
            return {}
        options = f"--task {source.task}{signal_options(config.method)}"
        raise SpecError(
            expected=f"a cache of {source.name}",
            found="none",
            advice=f"Make one: logitcache dump {options} --data DATA --teacher TEACHER.",
            where=config.workspace.caches,
        )
    rows = {dump["train"].manifest.plan.data["digest"] for dump in dumps}
    if len(dumps) > 1 and (reads_cache or len(rows) > 1):
        names = ", ".join(str(dump["train"].folder) for dump in dumps)
        raise SpecError(
            expected="one cache of these rows",
            found=f"{len(dumps)}: {names}",
            advice="Choose one with --cache.",
            where=config.workspace.caches,
        )
    reporter.note(f"rows: {dumps[0]['train']!r}")
    return _checked(dumps[0], config)


def _checked(caches: Caches, config: TrainConfig) -> Caches:
    """Raises SpecError for options of other rows, FingerprintMismatch for another task."""
    where = next(iter(caches.values())).where
    if "train" not in caches:
        raise SpecError(
            expected="a cache of the split train",
            found=", ".join(caches),
            advice="Name that one with --cache.",
            where=where,
        )
    plan = caches["train"].manifest.plan
    if config.columns.task not in (None, plan.task):
        raise FingerprintMismatch(
            expected=f"a cache of {config.columns.task}, as --task says",
            found=f"one of {plan.task}",
            advice=f"Give --task {plan.task}, or name another cache.",
            where=where,
        )
    check_sequences(config.sequences, plan.preparation["sequences"])
    return caches


def check_sequences(sequences: Sequences, recorded: Mapping[str, Any]) -> None:
    """Raises SpecError for the first option with another value than that of a cache's rows."""
    made_with = asdict(replace(Recipe(), **recorded))
    for declared in options_of(Sequences):
        value = declared.value_in(sequences)
        expected = made_with[declared.name]
        if value in (None, expected):
            continue
        if isinstance(value, bool):
            flag = declared.flag if value else f"--no-{declared.flag.removeprefix('--')}"
            raise SpecError(
                expected="a cache that was dumped with it",
                found="one that was dumped without",
                advice=f"Leave it out, or dump with {flag}.",
                where=flag,
            )
        stored_value = "its default" if expected is None else expected
        raise SpecError(
            expected=f"{stored_value}, which the cache's rows were made with",
            found=value,
            advice=f"Leave it out, or dump with {declared.flag} {value}.",
            where=declared.flag,
        )


def _dump_of(cache: Cache) -> str:
    """What tells the caches of one dump from those of others."""
    plan = cache.manifest.plan
    fields: dict[str, Any] = {name: getattr(plan, name) for name in OF_A_DUMP}
    fields["targets"] = {name: without_fitted(codec) for name, codec in plan.targets.items()}
    preparation = dict(plan.preparation)
    preparation.pop("padding", None)
    fields["preparation"] = preparation
    return identity.digest_json([plan.task, plan.data.get("documents"), fields])


def _with_siblings(caches: Sequence[Cache]) -> Caches:
    """These caches by split, and those of their other splits that lie beside them."""
    for cache in caches:
        if not cache.holds_rows:
            cache.tokens(cache.skipped[:0])  # refuses it
    first = caches[0]
    dump = _dump_of(first)
    if any(_dump_of(cache) != dump for cache in caches):
        raise SpecError(
            expected="the caches of one dump, one for each split",
            found="those of several",
            advice="Name one with --cache.",
            where=first.where,
        )
    by_split = {_split_of(cache): cache for cache in caches}
    if isinstance(first.folder, Path) and first.folder.is_dir():
        for cache in _caches_in(first.folder.parent):
            if cache.holds_rows and _dump_of(cache) == dump:
                by_split.setdefault(_split_of(cache), cache)
    order = sorted(by_split, key=lambda split: (split != "train", split))
    return {split: by_split[split] for split in order}


def _split_of(cache: Cache) -> str:
    return str(cache.manifest.plan.data["split"])


def _caches_in(folder: Path) -> list[Cache]:
    caches = []
    for path in sorted(folder.glob("*/manifest.json")):
        with suppress(LogitCacheError):  # another's, or a broken one: it is not what is looked for
            caches.append(Cache.open(path.parent))
    return caches


def _dumps(workspace: Workspace, source: Source) -> list[Caches]:
    """The dumps of these documents in the workspace that have the split train."""
    caches_by_dump: defaultdict[str, Caches] = defaultdict(dict)
    documents = source.digest()
    for cache in _caches_in(workspace.caches):
        plan = cache.manifest.plan
        if plan.task == source.task and plan.data.get("documents") == documents:
            caches_by_dump[_dump_of(cache)][_split_of(cache)] = cache
    dumps = []
    for caches in caches_by_dump.values():
        if "train" not in caches or UNLABELLED_SPLIT in caches:
            continue
        order = ("train", "dev", "test", *caches)
        dumps.append({split: caches[split] for split in order if split in caches})
    return dumps


def vocabulary_map(tokenizer: Any) -> str:
    """Digest of which token has which id."""
    return identity.digest_json(tokenizer.get_vocab())


def tokenizer_folder(workspace: Workspace, digest: str) -> Path:
    """Where a dump leaves its tokenizer, for students that have none of their own."""
    return workspace.tokenizers / f"dump-{digest[:12]}"


def stored_tokenizer(workspace: Workspace, cache: Cache) -> Path:
    """The folder of the tokenizer that a cache was made with: in the workspace, where it is written
    from the cache if it is not there. Raises SpecError for a cache that does not hold one.
    """
    folder = tokenizer_folder(workspace, str(cache.manifest.plan.preprocessor.get("map")))
    if not folder.is_dir() and not write_tokenizer(cache.assets, folder):
        raise SpecError(
            expected="the tokenizer that the cache was made with",
            found="none in it, and none in the workspace",
            advice="Give --tokenizer the teacher's.",
            where=cache.where,
        )
    return folder


def keep_tokenizer(tokenizer: Any, workspace: Workspace) -> Path:
    """Leave a tokenizer in the workspace, for models of the same tokens: its folder."""
    folder = tokenizer_folder(workspace, vocabulary_map(tokenizer))
    if not (folder / "tokenizer_config.json").is_file():
        with files.written_by_library(folder, "the tokenizer"):
            tokenizer.save_pretrained(folder)
    return folder


def check_vocabulary(
    tokenizer: Any, cache: Cache, workspace: Workspace, reporter: Reporter
) -> None:
    """Raises FingerprintMismatch where a student's tokenizer gives other ids to the tokens of a
    cache, naming the first one where the teacher's tokenizer is in the workspace. More tokens
    behind the cache's are accepted, and said.
    """
    plan = cache.manifest.plan
    recorded = str(plan.preprocessor.get("map"))
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    if identity.digest_json(vocabulary) == recorded:
        return
    width = cache.codec.width
    inside = {token: number for token, number in vocabulary.items() if number < width}
    if identity.digest_json(inside) == recorded:
        surplus = len(vocabulary) - len(inside)
        reporter.note(
            f"tokenizer: {surplus:,} tokens more than the cache's {width:,}: they occur nowhere in it"
        )
        return
    raise FingerprintMismatch(
        expected=f"a tokenizer with the {width:,} tokens of the cache",
        found=_first_difference(vocabulary, workspace, cache),
        advice="Give --tokenizer the teacher's.",
        where=cache.where,
    )


def check_tokens_alike(tokenizer: Any, cache: Cache) -> None:
    """Raises FingerprintMismatch where a student's tokenizer gives texts other tokens than the one
    that the vectors of a cache's tokens were made with.
    """
    recorded = cache.manifest.plan.preprocessor
    if "map" not in recorded:  # it has no vectors of tokens
        return
    if recorded["map"] == vocabulary_map(tokenizer):
        own = tokenizer_fingerprint(tokenizer)
        if own["worked_examples"]["ids"] == recorded["worked_examples"]["ids"]:
            return
    raise FingerprintMismatch(
        expected="a tokenizer that gives the tokens of the teacher's, as vectors of tokens are compared",
        found="one that gives others",
        advice="Give --tokenizer the teacher's, or compare vectors of rows: --method embedding.",
        where=cache.where,
    )


def _first_difference(vocabulary: Mapping[str, int], workspace: Workspace, cache: Cache) -> str:
    """In words."""
    from logitcache.models.load import load_tokenizer

    try:
        folder = stored_tokenizer(workspace, cache)
    except SpecError:
        return f"one with {len(vocabulary):,} others"
    recorded_vocabulary = load_tokenizer(str(folder)).get_vocab()
    recorded = {number: token for token, number in recorded_vocabulary.items()}
    tokens = {number: token for token, number in vocabulary.items()}
    for number in sorted(recorded):
        if recorded[number] != tokens.get(number):
            return f"token {number} is {short(repr(tokens.get(number)))}, in the cache {short(repr(recorded[number]))}"
    return f"one with {len(vocabulary):,} tokens"


def with_length(config: TrainConfig, caches: Caches) -> TrainConfig:
    """The configuration with the length of the cache's rows, and with their other settings."""
    recorded = caches["train"].manifest.plan.preparation["sequences"]
    sequences = replace(config.sequences, **recorded)
    return replace(config, sequences=sequences, max_length=int(recorded["seq_len"]))
