"""Terms of a loss of a masked language model: a whole training step beside plain masked LM, from a
cache and with a live teacher, and a dump of signals beside the bare forward pass of the body.

    python benchmarks/bench_terms.py [--part step dump] [--rounds 15] [--folder FOLDER]

An interrupt ends the measuring after whole rounds.

The student is 2 layers of 128, the teacher 4 of 256, both of 4 heads, with 8,000 words and rows of
128 tokens, 32 a step. Weights are random and texts random words: neither decides a time. FOLDER
keeps models and caches between calls. Results lie in results/terms-PART-cpu.json.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

WORDS = 8_000
os.environ["LOGITCACHE_BENCH_WORDS"] = str(WORDS)  # which bench_language reads when it is imported

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from bench_language import TOKENS, make_texts, make_tokenizer  # noqa: E402
from common import write  # noqa: E402

from logitcache.api import dump  # noqa: E402
from logitcache.bench import turns  # noqa: E402
from logitcache.cache.cache import Cache  # noqa: E402
from logitcache.cache.rows import stored_source  # noqa: E402
from logitcache.data.collate import Collator  # noqa: E402
from logitcache.data.preprocess.tokens import prepare  # noqa: E402
from logitcache.data.tasks.masked_lm import MaskedLM  # noqa: E402
from logitcache.student.distiller import Distiller  # noqa: E402
from logitcache.student.terms.objective import SumObjective, bound_to  # noqa: E402
from logitcache.student.trainer import to_torch  # noqa: E402
from logitcache.teacher.model import LiveTeacher, load_teacher  # noqa: E402

ROWS, BATCH = 512, 32
SIGNALS = ("logits", "attention-input:1", "attention-input:2", "attention-input:4")
STATES = ("hidden:0", "hidden:2", "hidden:4")
METHODS = {
    "kd": "vanilla-kd",
    "minilm": "minilm",
    "tinybert": "tinybert",
    "tinybert-bui": "tinybert-bui",
}
AIMS = {
    "kd replay": 1.35,
    "kd varopt": 1.05,
    "minilm": 1.25,
    "tinybert": 1.15,
    "tinybert-bui": 1.15,
}


class World:
    """Teacher, student and texts in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokenizer = make_tokenizer()
        self.teacher = folder / "teacher"
        self.texts = folder / "texts"
        if not self.texts.is_dir():
            torch.manual_seed(0)
            bert(4, 256).save_pretrained(self.teacher)
            self.tokenizer.save_pretrained(self.teacher)
            make_texts(ROWS, self.texts)

    def dumped(self, name: str, **settings: Any) -> Any:
        """The report of a dump, made anew where it is not there."""
        return dump(
            str(self.teacher),
            str(self.texts),
            task="masked-lm",
            seq_len=TOKENS,
            device="cpu",
            dtype="float32",
            workspace=self.folder / "workspace",
            out=self.folder / name,
            notify=lambda note: None,
            **settings,
        )


def bert(layers: int, width: int) -> Any:
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=4 * width,
        max_position_embeddings=TOKENS,
        pad_token_id=0,
    )
    return transformers.AutoModelForMaskedLM.from_config(config)


@dataclass
class Step:
    """One training step after another of a student and a method."""

    collator: Collator
    distiller: Distiller
    optimiser: torch.optim.Optimizer
    draw: np.random.Generator

    def read(self) -> Any:
        """A batch with what the teacher said of it."""
        rows = self.draw.permutation(len(self.collator.rows))[:BATCH]
        return to_torch(self.collator(rows))["batch"]

    def __call__(self) -> None:
        batch = self.read()
        loss, _ = self.distiller(batch)
        (loss / batch.weight.sum()).backward()
        self.optimiser.step()
        self.optimiser.zero_grad()


def step_of(method: str, rows: Any, teacher: Any) -> Step:
    torch.manual_seed(1)
    student = bert(2, 128)
    objective = SumObjective.of(method)
    teachers = {} if teacher is None else {"teacher": teacher}
    terms, collator = bound_to(objective, student, Collator(rows, MaskedLM(WORDS, None), teachers))
    distiller = Distiller(
        student, objective, rows.padding, per_token=True, width=WORDS, terms=terms
    ).train()
    optimiser = torch.optim.AdamW(distiller.parameters(), 1e-4)
    return Step(collator, distiller, optimiser, np.random.default_rng(0))


def steps(world: World, rounds: int) -> dict[str, Any]:
    """A step of each method, from a cache and with the teacher asked live, over one of plain masked
    LM that ran beside it.
    """
    replay = Cache.open(world.dumped("replay", codec="replay", signal=(*SIGNALS, *STATES)).cache)
    varopt = Cache.open(world.dumped("varopt", codec="varopt:mean=16").cache)
    rows = prepare(world.tokenizer, stored_source({"train": replay}).split("train"), TOKENS)
    live = LiveTeacher(load_teacher(str(world.teacher), device="cpu", kind=MaskedLM), rows)
    cases = {"mlm": step_of("mlm=1", rows, None)}
    cases["kd replay"] = step_of("vanilla-kd", rows, replay)
    cases["kd varopt"] = step_of("vanilla-kd", rows, varopt)
    for name, method in METHODS.items():
        if name != "kd":
            cases[name] = step_of(method, rows, replay)
    for name, method in METHODS.items():
        cases[f"{name} live"] = step_of(method, rows, live)
    cached = [name for name in cases if name != "mlm" and not name.endswith("live")]
    reading = {f"{name} read": cases[name].read for name in cached}
    times: turns.Times = {}
    with suppress(KeyboardInterrupt):  # whole rounds are there
        turns.in_turn({**cases, **reading}, rounds, 1, settle=0, into=times)
    ratios = {name: turns.ratio(times[name], times["mlm"]).to_dict() for name in cases}
    feeds = {name: turns.ratio(times[name], times[f"{name} read"]).to_dict() for name in cached}
    seconds = {name: turns.spread(times[name]) for name in cases}
    tokens = BATCH * TOKENS
    per_second = {name: tokens / spread["median"] for name, spread in seconds.items()}
    return {
        "step_to_mlm": ratios,
        "aims": AIMS,
        "step_to_reading": feeds,
        "seconds": seconds,
        "tokens_per_second": per_second,
        "tokens_in_ten_minutes": {name: round(600 * rate) for name, rate in per_second.items()},
    }


def forward(model: Any, ids: torch.Tensor) -> None:
    """The body's forward pass over rows, in batches of a dump's size."""
    with torch.inference_mode():
        for part in ids.split(4096 // TOKENS):
            model.base_model(input_ids=part, attention_mask=torch.ones_like(part))


def dumps(world: World, rounds: int) -> dict[str, Any]:
    """Dumps of MiniLM's signal beside the body's forward pass over as many rows, and what they hold.

    A dump's seconds are its own clock's, over all splits, from the first row asked to the caches
    sealed; the rest (the model loaded, digests) is done once, however many rows there are.
    """
    model = transformers.AutoModelForMaskedLM.from_pretrained(world.teacher).eval()
    draw = torch.Generator().manual_seed(0)
    reports: list[Any] = []
    answering: turns.Times = {"dump": []}
    times: turns.Times = {"bare": []}

    def whole() -> None:
        report = world.dumped("minilm", signal=("attention-input:-1",), overwrite=True)
        reports.append(report)
        parts = (report, *report.held_out)
        answering["dump"].append([sum(part.seconds for part in parts)])

    whole()
    rows = sum(part.rows for part in (reports[0], *reports[0].held_out))
    bare = partial(forward, model, torch.randint(5, WORDS, (rows, TOKENS), generator=draw))
    bare()
    answering["dump"].clear()
    for turn in range(rounds):
        for is_bare in (turn % 2 == 0, turn % 2 == 1):
            if is_bare:
                times["bare"].append([turns.timed(bare)])
            else:
                whole()
    return {
        "rows": rows,
        "dump_to_bare_forward": turns.ratio(answering["dump"], times["bare"]).to_dict(),
        "aim": 1.05,
        "seconds": {
            "bare": turns.spread(times["bare"]),
            "dump": turns.spread(answering["dump"]),
        },
        "bytes_per_token": bytes_of(reports[-1]),
    }


def bytes_of(report: Any) -> dict[str, float]:
    """Of the training rows' cache: what its files hold, and what docs/methods.md announces: 2 d of
    the signal, 4 of each token and 8 of each masked one. Beside it, one layer's attention maps and
    full logits of the masked tokens.
    """
    cache = Cache.open(report.cache)
    tokens = len(cache.tokens(np.arange(len(cache)))["input_ids"].values)
    masked = cache.manifest.positions / tokens
    shards = (Path(report.cache) / "shards").glob("*.arrow")
    return {
        "on_disk": sum(path.stat().st_size for path in shards) / tokens,
        "announced": 2 * 256 + 4 + 8 * masked,
        "attention_maps": 2 * 4 * TOKENS,
        "full_logits": 2 * WORDS * masked,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", nargs="+", choices=("step", "dump"), default=["step", "dump"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="logitcache-bench-") as made:
        world = World(options.folder or Path(made))
        for part in options.part:
            measured = (steps if part == "step" else dumps)(world, options.rounds)
            write(f"terms-{part}-cpu", measured)


if __name__ == "__main__":
    main()
