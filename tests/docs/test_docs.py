"""The docs are run: every block of Python, the form of every command shown, every option described."""

from __future__ import annotations

import contextlib
import copy
import gc
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

import logitcache
from logitcache_cli.main import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((DOCS / "studies").glob("*.md"))]
REFERENCE = ROOT / "docs" / "cli.md"
NO_RUN = "<!-- no-run -->"
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)
FOREIGN = re.compile(r"`(?:hf|pip|make) [^`]*`")  # a command of another program, within a line
OPTION = re.compile(r"(?<![\w-])--[a-z](?:[a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True)
class Block:
    language: str
    body: str
    line: int  # of the body's first line in its page
    run: bool


def blocks(text: str) -> Iterator[Block]:
    for match in FENCE.finditer(text):
        before = text[: match.start()].rstrip("\n").rpartition("\n")[2]
        line = text[: match.start("body")].count("\n") + 1
        body = re.sub(rf"^{match['indent']}", "", match["body"], flags=re.MULTILINE)
        yield Block(match["language"], body, line, before.strip() != NO_RUN)


def commands(block: Block) -> Iterator[list[str]]:
    """The words after ``$ logitcache`` of each command a block shows; lines ending in a backslash
    go on.
    """
    for line in re.sub(r"\\\n *(> )?", " ", block.body).splitlines():
        if line.startswith("$ logitcache"):
            lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = list(lexer)[1:]
            end = next(
                (place for place, word in enumerate(words) if set(word) <= set("|&;<>()")),
                len(words),
            )
            yield words[:end]


def resolve(words: list[str]) -> tuple[click.Context, list[str]]:
    """The context of the innermost command that some words name, and the words left for it."""
    context, command = click.Context(cli, info_name="logitcache"), cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            raise click.UsageError(f"no command {words[0]!r}")
        context, command, words = (
            click.Context(found, context, info_name=words[0]),
            found,
            words[1:],
        )
    return context, words


def unbound(command: click.Command) -> click.Command:
    """A command like this one that touches no file: paths are plain strings and nothing is called
    for a value.
    """
    like = copy.copy(command)
    like.params = [copy.copy(param) for param in command.params]
    for param in like.params:
        param.callback = param.callback if param.is_eager else None
        param.type = click.STRING if isinstance(param.type, click.Path | click.File) else param.type
    return like


def check(words: list[str]) -> None:
    """Raise click.UsageError unless these words are a command with options it has, values they take
    and all it needs.

    Paths are not looked up, so nothing shown has to exist.
    """
    context, rest = resolve(words)
    with contextlib.suppress(click.exceptions.Exit):  # --help and --version end here
        unbound(context.command).make_context(context.info_name, rest)


def options(command: click.Command) -> set[str]:
    """The long names of a command's own options, both of an on/off pair."""
    found = [
        param for param in command.params if isinstance(param, click.Option) and not param.hidden
    ]
    return {
        name
        for param in found
        for name in (*param.opts, *param.secondary_opts)
        if name.startswith("--")
    }


def leaves(
    group: click.Group, names: list[str], prefix: str = ""
) -> Iterator[tuple[str, click.Command]]:
    """(full name, command) of every command below a group, and of nested groups' commands."""
    context = click.Context(group)
    for name in names:
        command = group.get_command(context, name)
        assert command is not None, name
        if isinstance(command, click.Group):
            yield from leaves(command, command.list_commands(context), f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def of_other_programs(text: str) -> set[str]:
    """The options of commands of other programs: ``hf download NAME --local-dir FOLDER``."""
    return {name for line in FOREIGN.findall(text) for name in OPTION.findall(line)}


def section(name: str) -> str:
    """The text of docs/cli.md from the heading that names a command to the next heading of that
    level or above.
    """
    text = REFERENCE.read_text("utf-8")
    heading = re.search(
        rf"^(#{{2,}}) [^\n]*(?<![\w-]){re.escape(name)}(?![\w-])[^\n]*$", text, re.MULTILINE
    )
    assert heading, f"docs/cli.md has no heading with {name!r}"
    following = re.search(rf"^#{{1,{len(heading[1])}}} ", text[heading.end() :], re.MULTILINE)
    return text[heading.end() :][: following.start() if following else None]


@pytest.fixture(scope="module")
def _loaded() -> None:
    """The libraries that blocks need, out of every later garbage collection: Trainer collects after
    each run, and going through all of them takes longer than a training here.
    """
    from transformers import Trainer  # noqa: F401

    import logitcache.api  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.mark.slow  # `make check` runs it
@pytest.mark.usefixtures("_loaded")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOGITCACHE_HOME", str(tmp_path / "home"))
    namespace: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page.read_text("utf-8")):
        if block.language == "python":
            # as many empty lines first as make a traceback name the page's own line
            code = compile("\n" * (block.line - 1) + block.body, str(page), "exec")
            if block.run:
                exec(code, namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_shown_exist_and_take_what_they_are_given(page: Path) -> None:
    for block in blocks(page.read_text("utf-8")):
        for words in commands(block) if block.language == "console" else ():
            try:
                check(words)
            except click.UsageError as error:
                pytest.fail(
                    f"{page.name}:{block.line}: logitcache {shlex.join(words)}: {error.format_message()}"
                )


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_and_option_is_described(name: str) -> None:
    for full, command in leaves(cli, [name]):
        described = set(OPTION.findall(section(full)))
        assert options(command) <= described, (
            f"{full}: docs/cli.md leaves out {sorted(options(command) - described)}"
        )


def test_no_option_is_described_that_does_not_exist() -> None:
    known = {"--help", "--version"}.union(
        *(options(command) for _, command in leaves(cli, list(COMMANDS)))
    )
    text = REFERENCE.read_text("utf-8")
    assert set(OPTION.findall(text)) - of_other_programs(text) <= known


# The checks above prove nothing unless they can fail.

PAGE = f"""
{NO_RUN}
```python
never(run)
```

- in a list:

  ```python
  x = 1
  ```

```console
$ logitcache --help
$ logitcache fake a.jsonl \\
    --kind good --out /nowhere | head -n 3
output --not-a-command
$ ls --all
```
"""


@click.command()
@click.argument("source", type=click.Path(exists=True))
@click.option("--kind", type=click.Choice(["good"]))
@click.option("--out", type=click.Path(exists=True), required=True)
@click.option("--fast/--slow")
@click.option("--seed", type=int, multiple=True)
def fake() -> None:
    """Only a test."""


@pytest.fixture
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "get_command", lambda context, name: fake if name == "fake" else None)


def test_blocks_are_found_with_their_lines() -> None:
    never, listed, console = blocks(PAGE)
    assert (never.run, never.line, never.body) == (False, 4, "never(run)\n")
    assert (listed.run, listed.body) == (True, "x = 1\n")
    assert list(commands(console)) == [
        ["--help"],
        ["fake", "a.jsonl", "--kind", "good", "--out", "/nowhere"],
    ]


@pytest.mark.usefixtures("_fake")
@pytest.mark.parametrize(
    "line",
    ["fake x --out y", "fake --out y --slow --seed 1 --seed 2 x", "fake --help", "--version"],
)
def test_a_good_command_passes(line: str) -> None:
    check(line.split())


@pytest.mark.usefixtures("_fake")
@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "fake x",
        "fake --out y",
        "fake x --out y z",
        "fake x --out",
        "fake x --out y --kind bad",
        "fake --new",
        "--new",
    ],
)
def test_a_wrong_command_is_seen(line: str) -> None:
    with pytest.raises(click.UsageError):
        check(line.split())


def test_options_of_other_programs_are_those_of_their_commands() -> None:
    assert of_other_programs(
        "`hf get X --local-dir Y` or `--new`, `logitcache --old` and hf --bare"
    ) == {"--local-dir"}


def test_options_are_both_of_a_pair() -> None:
    assert options(fake) == {"--kind", "--out", "--fast", "--slow", "--seed"}
    assert OPTION.findall("`--text-pair`, --beta2; x--y, ---") == ["--text-pair", "--beta2"]


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"],
    ids=lambda page: page.name,
)
def test_lines_fit(page: Path) -> None:
    long = [
        f"{page.name}:{n}"
        for n, line in enumerate(page.read_text("utf-8").splitlines(), 1)
        if len(line) > 120 and not line.startswith("|")  # a row of a table cannot be broken
    ]
    assert not long


def heading_anchors(text: str) -> set[str]:
    """The anchors of a page: its headings as GitHub names them, and those set by hand."""
    prose = FENCE.sub("", text)
    anchors = set(re.findall(r'<a id="([^"]+)">', text))
    for heading in re.findall(r"^#+ (.*)$", prose, re.MULTILINE):
        words = re.sub(r"<[^>]*>|[`*]", "", heading).strip().lower()
        anchors.add(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return anchors


def dead_links(page: Path) -> Iterator[str]:
    """The links of a page to files, or headings of other pages, that are not there."""
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text("utf-8"))):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (
            anchor and anchor not in heading_anchors(target.read_text("utf-8"))
        ):
            yield link


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert not list(dead_links(page))


def test_a_dead_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b` c\n[x](#a-b-c) [y](#d) [z](gone.md) [w](page.md#a-b-c) [v](http://v)\n"
    )
    assert list(dead_links(page)) == ["#d", "gone.md"]


def test_every_page_is_reached_from_the_readme_in_two_clicks() -> None:
    def linked(page: Path) -> set[Path]:
        names = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text("utf-8"))
        return {(page.parent / name).resolve() for name in names if not name.startswith("http")}

    first = linked(ROOT / "README.md")
    second = set.union(*(linked(page) for page in first))
    assert set(PAGES) <= {ROOT / "README.md"} | first | second


def test_the_readme_names_the_command_that_ci_runs() -> None:
    console = [
        block.body
        for block in blocks((ROOT / "README.md").read_text())
        if block.language == "console"
    ]
    assert re.search(r"^\$ make test( +#.*)?$", "".join(console), re.MULTILINE)  # .ci/run reads it


def test_the_page_of_the_library_lists_every_public_name() -> None:
    page = (DOCS / "library.md").read_text("utf-8")
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) == set(logitcache.__all__)
