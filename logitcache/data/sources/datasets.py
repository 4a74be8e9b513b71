"""Data sets of the ``datasets`` library: from the hub by name, or from a folder it saved. Only here
is it imported.

No code of a repository is ever run: the library does not do that any more, and a repository that is
nothing but a script is refused.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from logitcache.data.sources.endings import SPLIT_WORDS
from logitcache.data.sources.tables import Table, arrow_table
from logitcache.errors import SpecError
from logitcache.hub import Commit, download, explain, resolve

Opener = Callable[[], Table]
_NAME = re.compile(
    r"((?:[\w-][\w.-]*/)?[\w-][\w.-]*)(?::([\w.+-]+))?(?:@([\w][\w./+-]*))?", re.ASCII
)
_BRACKETS = re.compile(r"\[(.*)\]")


@dataclass(frozen=True)
class HubName:
    """What ``org/name:config@revision`` names; only the name is needed."""

    repo: str
    config: str | None = None
    revision: str | None = None
    preset: str | None = None  # whose name stood for it

    def __str__(self) -> str:
        config = f":{self.config}" if self.config else ""
        return f"{self.repo}{config}{f'@{self.revision}' if self.revision else ''}"

    def how(self) -> str:
        """How to fetch it, and name it then, where the hub cannot be reached from here."""
        folders = None
        if self.preset and self.config:  # known of presets alone
            folders = f"{self.config}/*"
        option = f"`--data {self.preset}=FOLDER`" if self.preset else "`--data FOLDER`"
        if self.config and not self.preset:
            among = f" (or what in it holds the files of {self.config})"
        else:
            among = ""
        return download(self.repo, "dataset", self.revision, folders, option + among)


def parse(name: str) -> HubName | None:
    """The hub's name for a data set, or None where it cannot be one."""
    matched = _NAME.fullmatch(name)
    return None if matched is None else HubName(*matched.groups())


def is_saved(path: Path) -> bool:
    """Whether a folder is one that ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote."""
    is_one = (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
    return is_one or (path / "dataset_dict.json").is_file()


def saved(path: Path) -> dict[str | None, Opener]:
    """The tables of a saved folder by split, as the library names them; None for a single one whose
    name tells none.

    Raises SpecError where the folder cannot be read.
    """
    import datasets
    import pyarrow as pa

    try:
        with _quiet():
            loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        problem = f"expected a data set that was saved whole, found: {_line(error)}"
        raise SpecError(problem, advice="Save it again with save_to_disk.", where=path) from None
    return tables(loaded, str(path))


def is_dataset(value: Any) -> bool:
    """Whether it is a ``datasets.Dataset``: the library is not loaded to find out."""
    library = sys.modules.get("datasets")
    return library is not None and isinstance(value, library.Dataset)


def tables(loaded: Any, where: str) -> dict[str | None, Opener]:
    """The tables of a ``DatasetDict`` by split, or of a ``Dataset``: None where its name tells no
    split.
    """
    if not is_dataset(loaded):
        return {
            str(split): partial(table, data, f"{where}, split {split}")
            for split, data in loaded.items()
        }
    split = re.split(r"[^\w.]", str(loaded.split))[0]  # of "train[:10%]" too
    return {split if split in SPLIT_WORDS else None: partial(table, loaded, where)}


def commit_of(name: HubName) -> Commit:
    """The commit that is meant. Raises SpecError: no such data set or revision, no access, no
    connection.
    """
    return resolve(name.repo, name.revision, "dataset", name.how())


def fetch(
    name: HubName, commit: Commit, files: Mapping[str, str] | None = None
) -> dict[str | None, Opener]:
    """The tables of a data set on the hub by split, as its own files name them; kept in the
    library's cache.

    ``files`` ({split: pattern}) stands in for what the repository says of its files. Raises
    SpecError: no such configuration, no access, no connection, a repository that is a script or
    cannot be read.
    """
    import datasets
    import pyarrow as pa
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # as the library itself imports it

    url = f"hf://datasets/{name.repo}"  # without it, a local folder of this name would be taken
    patterns = None if files is None else dict(files)
    try:
        with _quiet():
            if commit.local:
                loaded = _kept(name, commit, files)
            else:
                loaded = datasets.load_dataset(
                    url, name.config, revision=commit.sha, data_files=patterns
                )
    except SpecError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
        pa.ArrowException,
        datasets.exceptions.DatasetsError,
        httpx.HTTPError,
    ) as error:
        raise _unreadable(name, error).at(f"data set {name}") from error
    return tables(loaded, f"data set {name}")


def _kept(name: HubName, commit: Commit, files: Mapping[str, str] | None) -> dict[str, Any]:
    """What the library's cache holds of a commit, when the hub cannot be asked. Raises SpecError
    where that is nothing.

    The library itself would take the copy made last, of whatever commit.
    """
    import datasets

    files_by_name = {}
    for folder in Path(datasets.config.HF_DATASETS_CACHE).expanduser().glob(f"*/*/*/{commit.sha}"):
        about = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
        config, splits = about["config_name"], about["splits"]
        of_files = folder.parts[-3] != config  # the library adds a digest where files were named
        same_files = of_files == (files is not None) and set(files or ()) <= set(splits)
        if name.config in (None, config) and same_files:
            files_by_name[config] = {split: _arrow_files(folder, split) for split in splits}
    config = next(iter(files_by_name)) if len(files_by_name) == 1 else "default"
    if config not in files_by_name:
        listed = ", ".join(sorted(files_by_name)) or "none"
        raise SpecError(
            expected="one configuration in the cache, for the hub cannot be asked",
            found=f"{listed} of commit {commit.sha[:12]}",
            advice="Name one of these, or load it once where the hub can be reached.",
            where=f"data set {name}",
        )
    read = datasets.Dataset.from_file
    return {
        s: datasets.concatenate_datasets([read(str(f)) for f in parts])
        for s, parts in files_by_name[config].items()
    }


def _arrow_files(folder: Path, split: str) -> list[Path]:
    return sorted(
        [*folder.glob(f"*-{split}.arrow"), *folder.glob(f"*-{split}-[0-9]*-of-[0-9]*.arrow")]
    )


def _unreadable(name: HubName, error: BaseException) -> SpecError:
    """What an error of the library means. It raises RuntimeError and ValueError for these, so its
    words tell them apart from other errors.
    """
    if isinstance(error, RuntimeError) and "scripts are no longer supported" in str(error):
        return SpecError(
            expected="data files",
            found="a script, which is never run",
            advice=f"Try {name.repo}@refs/convert/parquet (the hub's own conversion, where it made one), or save the "
            "data as jsonl, csv, tsv or parquet and name that.",
        )
    brackets = _BRACKETS.search(str(error))
    configurations = brackets[1].replace("'", "") if brackets else ""
    if configurations and "Config name is missing" in str(error):
        advice = f"Give {name.repo}:NAME with one of {configurations}."
        return SpecError(expected="one of its configurations", found="none named", advice=advice)
    if configurations and "BuilderConfig" in str(error):
        expected = f"one of its configurations ({configurations})"
        return SpecError(expected=expected, found=repr(name.config), advice="Name one of these.")
    explained = explain(name.repo, error, "dataset", name.how())
    return explained or SpecError(f"expected a data set that can be read, found: {_line(error)}.")


def _line(error: BaseException) -> str:
    # the library says that something failed, its cause says what
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".strip().split("\n")[0].rstrip(".")


def table(data: Any, where: str) -> Table:
    """The rows of a ``datasets.Dataset`` as they are ordered there. Raises SpecError: two columns
    with one name.
    """
    import datasets

    # of a list, its items
    inner = {name: getattr(kind, "feature", kind) for name, kind in data.features.items()}
    kinds = {name: kind for name, kind in inner.items() if isinstance(kind, datasets.ClassLabel)}
    return arrow_table(
        where, data.with_format("arrow")[:], {name: kind.names for name, kind in kinds.items()}
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bars where nobody sees them."""
    import datasets

    if sys.stderr.isatty() or datasets.are_progress_bars_disabled():
        yield
        return
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
