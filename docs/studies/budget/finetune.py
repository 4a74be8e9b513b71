"""A spec that fine-tunes the pre-trained students of a regime and a seed, and one that has read
nothing, on 1,000 rows of subj or sst5: python finetune.py subj fresh 42
"""

import sys
from pathlib import Path

TRIALS = Path("logitcache-studies/budget/trials")
EPOCHS = {"subj": 3, "sst5": 4}

task, regime, seed = sys.argv[1:]
students = []
for folder in sorted((TRIALS / regime / "2x128").glob(f"*-seed{seed}")):
    if (folder / "result.json").is_file():
        method = folder.name.removesuffix(f"-seed{seed}")
        students.append(f"  {method}: {{student: {folder}}}")

print(f"""name: {task}-{regime}-{seed}
about: Fine-tuning of students pre-trained under a budget, on 1,000 rows
tasks: {{{task}: data/{task}}}
students:""")
print("\n".join(students))
print(f"""  none: {{student: models/student, tokenizer: models/teacher, init: random}}
methods: {{base: {{learning_rate: 5e-4}}}}
seeds: [{seed}]
settings: {{rows: 1000, epochs: {EPOCHS[task]}, batch_size: 16, max_length: 64, weight_decay: 0.01,
  warmup: 0.06, select: best}}
split: test""")
