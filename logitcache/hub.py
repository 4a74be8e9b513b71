"""Names on the Hugging Face hub: the commit that is meant, and what went wrong, on one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from logitcache.errors import SpecError

HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
NOUNS = {"model": "model", "dataset": "data set"}
POINTER = b"version https://git-lfs.github.com/spec/"
LOG_IN = "log in (`hf auth login`, or a token in HF_TOKEN)"


def on_hub(path: str) -> bool:
    """Whether a path is none on this machine, but could be a name on the hub."""
    return HUB_NAME.fullmatch(path) is not None and not Path(path).exists()


@dataclass(frozen=True)
class Commit:
    """A state of a repository. ``kept``: the hub could not be asked, so only what is kept here of it can be read."""

    sha: str  # 40 hexadecimal digits
    kept: bool

    def settings(self) -> dict[str, Any]:
        """What `from_pretrained` is to be told."""
        return {"revision": self.sha, "local_files_only": self.kept}


def checkpoint(path: str, revision: str | None) -> Commit | None:
    """The commit to load a checkpoint at; None for one on this machine. Raises SpecError for a revision of that."""
    if on_hub(path):
        return resolve(path, revision)
    if revision is not None and Path(path).exists():
        raise SpecError(
            expected=f"a hub name beside --revision {revision}", found="a path", advice="Leave --revision out."
        )
    return None


def download(
    name: str,
    kind: str = "model",
    revision: str | None = None,
    include: str | None = None,
    then: str = "give that folder in place of the name",
) -> str:
    """How to fetch a repository where the hub can be reached, and what to do then. ``include``: a pattern of files."""
    options = (
        (" --repo-type dataset", kind == "dataset"),
        (f" --revision {revision}", revision),
        (f" --include '{include}'", include),
    )
    return f"`hf download {name}{''.join(said for said, wanted in options if wanted)} --local-dir FOLDER`; then {then}"


def resolve(name: str, revision: str | None = None, kind: str = "model", how: str | None = None) -> Commit:
    """The commit that a branch, tag or commit stands for; None is the main branch. ``how`` it can be fetched otherwise
    (:func:`download`). Raises SpecError.

    To be asked before anything is loaded: one short question says what is wrong, where the libraries ask for file after
    file and try each for half a minute where the hub is out of reach. All that is loaded is then of one commit.
    """
    from huggingface_hub import HfApi, constants, errors
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # httpx or httpx2: the one that it uses

    asked: dict[str, Any] = {"repo_type": kind, "revision": revision}
    api, patience = HfApi(), constants.HF_HUB_ETAG_TIMEOUT  # seconds
    try:
        try:
            api.repo_info(name, **asked, timeout=patience)
            return Commit(api.resolve_revision(name, **asked).resolved, kept=False)  # remembers it for when it is away
        except (ConnectionError, httpx.TransportError, errors.HfHubHTTPError) as error:
            if isinstance(error, errors.HfHubHTTPError) and error.response.status_code < 500:
                raise
            return Commit(api.resolve_revision(name, **asked, local_files_only=True).resolved, kept=True)
    except (errors.RevisionResolutionError, errors.HFValidationError, errors.HfHubHTTPError) as error:
        cause = explain(name, error, kind, how or download(name, kind, revision))
        assert cause is not None, error
        raise cause from error


def files(name: str, revision: str | None) -> list[str]:
    """Paths of a model's files on the hub; none where the hub cannot be asked."""
    from huggingface_hub import HfApi, errors
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    try:
        return HfApi().list_repo_files(name, revision=revision)
    except (errors.HFValidationError, OSError, httpx.HTTPError):
        return []


def own_code() -> SpecError:
    """The error over a checkpoint whose own code would have to run, without its place."""
    return SpecError(
        expected="a checkpoint of a kind that transformers knows",
        found="one that brings its own code",
        advice="Read that code; --trust-remote-code runs it on this machine.",
    )


def needs_own_code(error: BaseException) -> bool:
    """Whether a checkpoint's own code would have to run: transformers raises a plain ValueError for that."""
    return "trust_remote_code=True" in str(error)


def explain(name: str, error: BaseException, kind: str, how: str | None = None) -> SpecError | None:
    """What an error of transformers, datasets or huggingface_hub over a hub name means, and what to do.

    ``kind`` is "model" or "dataset", ``how`` a command from :func:`download`. None where the hub has no part in it.
    """
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    chain = list(_chain(error))

    def among(*kinds: type[BaseException]) -> BaseException | None:
        return next((e for e in chain if isinstance(e, kinds)), None)

    noun = NOUNS[kind]
    page = f"{endpoint()}/{'datasets/' if kind == 'dataset' else ''}{name}"
    files_page = f"See {page}/tree/main for its own."
    # datasets has one type for both cases and hides the hub's error, so its words are all there is
    unfound = next((str(e) for e in chain if type(e).__name__ == "DatasetNotFoundError"), "")
    if among(errors.GatedRepoError) or "is a gated dataset" in unfound:
        return SpecError(f"access to this {noun} is restricted", advice=f"Ask for it on {page}, then {LOG_IN}.")
    if refusal := among(errors.RevisionNotFoundError):
        revision = _quoted(refusal, r"revision|resolve|tree")
        return SpecError(f"the {noun} has no revision {revision}", advice=files_page)
    if among(errors.RepositoryNotFoundError) or unfound:
        advice = f"Check the name; for a private one {LOG_IN}."
        return SpecError(f"{endpoint()} has no {noun} of this name, or a private one", advice=advice)
    if refusal := among(errors.RemoteEntryNotFoundError):
        file = _quoted(refusal, r"resolve/[^/]+|tree/[^/]+")
        return SpecError(f"the {noun} has no file {file}", advice=files_page)
    if refusal := among(errors.HfHubHTTPError):
        return _answered(refusal)
    if among(errors.LocalEntryNotFoundError, errors.RevisionResolutionError, ConnectionError, httpx.TransportError):
        return _out_of_reach(kind, how or download(name, kind), chain, among(httpx.TransportError))
    if refusal := among(errors.HFValidationError):
        return SpecError(f"no {noun} can have this name: {str(refusal).splitlines()[0].rstrip('.')}.")
    return None


def endpoint() -> str:
    """The hub's address, without what it may hold of a password."""
    from huggingface_hub import constants

    return re.sub(r"//[^/@]*@", "//", constants.ENDPOINT)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those it came from, each once. Suppressed ones too: the libraries suppress the hub's own."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def _quoted(error: BaseException, before: str) -> str:
    """What an address that the hub refused names after a part of it, quoted."""
    address = str(error.response.request.url)  # type: ignore[attr-defined]
    after = r"/([^?]+)" if "/" in before else r"/([^/?]+)"
    found = re.search(rf"/(?:{before}){after}", address)
    return repr(unquote(found[1])) if found else "of that name"


def _answered(error: BaseException) -> SpecError:
    status = error.response.status_code  # type: ignore[attr-defined]
    answer = f"{endpoint()} answered with status {status}"
    if status in (401, 403):
        return SpecError(f"{answer}: the token in use is not valid or not enough", advice=f"To go on, {LOG_IN}.")
    return SpecError(answer, advice="Try again later.")


def _out_of_reach(kind: str, how: str, chain: list[BaseException], failure: BaseException | None) -> SpecError:
    from huggingface_hub import is_offline_mode

    offline = is_offline_mode() or any("OfflineModeIsEnabled" in f"{type(e).__name__} {e}" for e in chain)
    no_copy = f"and no copy of the {NOUNS[kind]} is kept here"
    if offline:
        return SpecError(
            f"the hub is not asked in offline mode, {no_copy}",
            advice=f"Leave the offline mode (unset HF_HUB_OFFLINE), or where the hub can be reached: {how}.",
        )
    words = "" if failure is None else f" ({': '.join(filter(None, [type(failure).__name__, str(failure)]))})"
    return SpecError(
        f"{endpoint()} cannot be reached{words}, {no_copy}", advice=f"Where the hub can be reached: {how}."
    )


def is_pointer(path: Path) -> bool:
    """Whether a file is what Git LFS leaves in place of one that was not fetched."""
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


def pointer_in_place_of(what: str) -> SpecError:
    """The error over such a file, without its place."""
    return SpecError(
        expected=what,
        found="a Git LFS pointer, which stands for a file that was not fetched",
        advice="Run `git lfs pull` in the repository, or download the file.",
    )


def first_line(error: BaseException) -> str:
    """The first line of a library's message, for one clear line of ours."""
    return str(error).strip().split("\n")[0]
