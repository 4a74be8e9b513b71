"""What decoding the halves of 32 rows costs, beside numpy's own conversion; in results/decode.json.

python benchmarks/bench_decode.py
"""

from __future__ import annotations

import numpy as np
from common import ratio, write

from logitcache.bench.turns import in_turn, spread
from logitcache.targets.dense import DenseCodec

ROWS, CALLS, ROUNDS, REPEATS = 32, 50, 15, 20


def main() -> None:
    widths = {}
    for width in (64, 512, 1000, 30_000):
        halves = np.random.default_rng(0).normal(0, 5, (ROWS, width)).astype(np.float16)
        codec = DenseCodec(width)

        def codec_unpack(halves: np.ndarray = halves, codec: DenseCodec = codec) -> None:
            for _ in range(CALLS):
                codec.unpack({"logits": halves})

        def numpy(halves: np.ndarray = halves) -> None:
            for _ in range(CALLS):
                halves.astype(np.float32)

        times = in_turn({"ours": codec_unpack, "numpy": numpy}, ROUNDS, REPEATS)
        microseconds = {name: spread(times[name])["median"] / CALLS * 1e6 for name in times}
        widths[str(width)] = {
            "microseconds": microseconds,
            "ours / numpy": ratio(times, "ours", "numpy"),
        }
    write("decode", {"rows": ROWS, "widths": widths})


if __name__ == "__main__":
    main()
