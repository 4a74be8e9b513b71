"""``logitcache tune``: settings of one method drawn from a space, trained side by side on a Ray
cluster, and stopped early where others are better (asynchronous successive halving, ASHA: Li et
al., 2020, arXiv 1810.05934), as Kobyzev et al. (2023) did (appendix D).

After 1, 4 and 16 epochs a sample goes on if its score on dev is among the best quarter of those
that came so far. The teacher is dumped once, before. Each sample's scores are on disk: a search
that was interrupted reports them to the scheduler again, and its samples resume from checkpoints.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from logitcache.cluster import connected, shares
from logitcache.config import own
from logitcache.config.train import LOWER_IS_BETTER
from logitcache.config.tune import TuneConfig
from logitcache.data.tasks.table import own_metric
from logitcache.errors import IncompleteStudy, SpecError
from logitcache.reporter import SILENT, Meter, Reporter
from logitcache.store.files import remove_folder, write_atomic
from logitcache.study import folder as folders
from logitcache.study.plan import Plan, load_spec, plan
from logitcache.study.run import Sources
from logitcache.study.search import (
    Sample,
    Search,
    State,
    claim,
    read_sample,
    read_spec,
    samples_of,
    write_sample,
)
from logitcache.study.spec import Spec

DEFAULT = Path("logitcache-searches")
BEST = "best.yaml"
QUARTER = 4  # one of so many goes on
RETRIES = 3  # of a sample whose process or machine is lost
OF_SAMPLES = ("method",)
TRAINING = "train"  # name of the stage of a sample's own training
ENDED = (State.DONE, State.STOPPED, State.DIVERGED)


def tune(
    spec: str | Path | Mapping[str, Any], config: TuneConfig, reporter: Reporter = SILENT
) -> Search:
    """Search for the settings of one method; a search that has begun goes on.

    Writes ``best.yaml``, the spec of the best, in its folder. Raises SpecError for a spec of
    several tasks, students or methods and for data that lack what it needs, FingerprintMismatch for
    the folder of another search, IncompleteStudy where no sample has a score.
    """
    config.check()
    search_spec, resolved = samples_of(load_spec(spec), config)
    folder = (config.out or DEFAULT / search_spec.name).resolve()
    study = plan(search_spec, folder)
    for trial in study.trials:
        own.check_importable((trial.config.method, trial.config.student))
    rows = Sources(study, reporter)
    rows.check()
    metric = _metric(study, rows)
    claim(folder, search_spec)
    samples = _samples(study)
    if any(sample.state not in ENDED for sample in samples):
        for sample in samples:
            if sample.state is State.FAILED:
                write_sample(folder, replace(sample, state=State.PENDING, error=None))
        _dump(study, rows, reporter)
        with reporter.stage("tune", "samples") as stage:
            _run(study, config, metric, stage)
        samples = _samples(study)
        if all(sample.state in ENDED for sample in samples):
            _remove(folder / "trials")  # what they have learnt is trained anew, by seeds
    search = Search(folder, search_spec, metric, tuple(samples))
    if not search.best(1):
        error = samples[0].error or {}
        raise IncompleteStudy(
            f"no sample has a score; the first: {error.get('message')}",
            advice="Mend what it names and run the same command again.",
            where=folder,
        )
    document = _best_spec(search, resolved, config.best).to_dict()
    write_atomic(folder / BEST, yaml.safe_dump(_plain(document), sort_keys=False).encode())
    return search


def _samples(study: Plan) -> list[Sample]:
    samples = []
    for name, options in study.spec.methods.items():
        values = {option: value for option, value in options.items() if option not in OF_SAMPLES}
        samples.append(read_sample(study.folder, name, values))
    return samples


def _metric(study: Plan, rows: Sources) -> str:
    """The metric that samples are compared by. Raises SpecError without labelled dev rows."""
    config = study.trials[0].config
    source = rows.of(config)
    dev = source.splits.get("dev")
    if dev is None or not (dev.label >= 0).any():
        raise SpecError(
            expected="labelled dev rows, which samples are judged on",
            found=", ".join(source.splits),
            advice="Add a dev split.",
            where=source.name,
        )
    return config.metric or own_metric(source)


def _dump(study: Plan, rows: Sources, reporter: Reporter) -> None:
    """The one dump of the teacher. Raises IncompleteStudy where it failed."""
    from logitcache.study.work import Worker

    trial = study.trials[0]
    teacher = study.teachers.get(trial.planned.teacher or "")
    if teacher is None:
        return
    folders.forget_teacher(study.folder, teacher.id)
    end = Worker(study, rows, reporter).teacher(teacher, trial)
    if end.error is not None:
        raise IncompleteStudy(
            end.error["message"],
            advice="Mend what it names and run the same command again.",
            where=study.folder,
        )


def _run(study: Plan, config: TuneConfig, metric: str, stage: Meter) -> None:
    """Run the samples that have not ended; the scheduler gets the recorded scores of the others."""
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # an interrupt is ours
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"  # a sample may fail without a score
    # what Ray Tune prints names folders that do not stay
    with connected() as ray, open(os.devnull, "w") as sink, redirect_stdout(sink):
        from ray import tune as search

        parts = shares(ray, config.workers)
        epochs = math.ceil(float(study.spec.settings["epochs"]))
        mode = "min" if metric in LOWER_IS_BETTER else "max"
        scratch = study.folder / "ray"
        _remove(scratch)
        stage.start(len(study.trials))
        common = {"folder": str(study.folder), "cwd": os.getcwd(), "metric": metric}
        names = list(study.spec.methods)
        tuner = search.Tuner(
            search.with_resources(_run_in_ray, {"cpu": parts.cpus, "gpu": parts.gpus}),
            param_space={**common, "name": search.grid_search(names)},
            tune_config=search.TuneConfig(
                metric="score",
                mode=mode,
                max_concurrent_trials=parts.count,
                scheduler=search.schedulers.ASHAScheduler(
                    time_attr="epoch", max_t=epochs, reduction_factor=QUARTER
                ),
            ),
            run_config=search.RunConfig(
                name="search",
                storage_path=str(scratch),
                verbose=0,
                failure_config=search.FailureConfig(max_failures=RETRIES),
                callbacks=[_recorder(search, study, metric, epochs, stage)],
            ),
        )
        tuner.fit()
        _remove(scratch)


def _remove(folder: Path) -> None:
    if folder.exists():
        remove_folder(folder)


def _recorder(search: Any, study: Plan, metric: str, epochs: int, stage: Meter) -> Any:
    """Ray Tune's callback at the end of a sample, which records the end and notes it."""

    class Recorder(search.Callback):  # type: ignore[misc]
        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            self.end(trial, None)

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            self.end(trial, {"kind": "Killed", "message": "its process was killed again and again"})

        def end(self, trial: Any, error: Mapping[str, str] | None) -> None:
            name = trial.config["name"]
            sample = read_sample(study.folder, name, study.spec.methods[name])
            if sample.state is State.PENDING:
                sample = replace(sample, state=_state(sample, epochs, error), error=error)
                write_sample(study.folder, sample)
            stage.advance()
            stage.reporter.note(f"{stage.done} of {stage.total}: {words(sample, metric)}")

    return Recorder()


def _state(sample: Sample, epochs: int, error: Mapping[str, str] | None) -> State:
    if error is not None:
        return State.FAILED
    return State.DONE if sample.scores and sample.scores[-1][0] >= epochs else State.STOPPED


def words(sample: Sample, metric: str) -> str:
    """A sample on one line: its settings, its best score, and how it ended."""
    settings = (item for item in sample.values.items() if item[0] not in OF_SAMPLES)
    values = ", ".join(f"{name} {value}" for name, value in settings)
    score = sample.best(metric)
    if score is None:
        error = sample.error or {}
        return f"{sample.name} ({values}) {sample.state}: {error.get('message', 'no score')}"
    after = f"{sample.scores[-1][0]:g} epochs"
    return f"{sample.name} ({values}): {metric} {score:.4f} on dev, {sample.state} after {after}"


def _run_in_ray(config: Mapping[str, Any]) -> None:
    """A sample in a process of Ray."""
    from ray import tune as search

    os.chdir(config["cwd"])
    run_sample(
        Path(config["folder"]),
        config["name"],
        config["metric"],
        lambda epoch, score: search.report({"epoch": epoch, "score": score}),
    )


def run_sample(
    folder: Path, name: str, metric: str, report: Callable[[float, float], object]
) -> None:
    """Train a sample; ``report(epoch, score)`` gets old and new scores. Failures are recorded."""
    from logitcache.stages.train import train
    from logitcache.student.fit import Diverged
    from logitcache.study.work import words_of

    study = plan(read_spec(folder), folder)
    (trial,) = [trial for trial in study.trials if trial.planned.method == name]
    sample = read_sample(folder, name, study.spec.methods[name])
    for epoch, score in sample.scores:
        report(epoch, score)
    if sample.state is not State.PENDING:
        return
    scores = ScoreReporter(folder, sample, metric, report)
    try:
        source = Sources(study, SILENT).of(trial.config)
        config = replace(trial.config, predict=False, report_to="none")
        train(config, source=source, reporter=scores)
    except Exception as error:
        state = State.DIVERGED if isinstance(error, Diverged) else State.FAILED
        write_sample(folder, replace(scores.sample, state=state, error=words_of(error)))


class ScoreReporter(Reporter):
    """Records a sample's score after each epoch and reports it."""

    def __init__(
        self, folder: Path, sample: Sample, metric: str, report: Callable[[float, float], object]
    ) -> None:
        self.folder = folder
        self.sample = sample
        self.metric = metric
        self.report = report

    def scored(self, stage: Meter, epoch: float, scores: Mapping[str, float]) -> None:
        if stage.name != TRAINING:  # of Self-KD's first copy
            return
        scored = self.sample.scores
        if scored and epoch <= scored[-1][0]:  # trained again from a checkpoint
            return
        score = float(scores[self.metric])
        self.sample = replace(self.sample, scores=(*scored, (epoch, score)))
        write_sample(self.folder, self.sample)
        self.report(epoch, score)


def _best_spec(search: Search, resolved: Spec, count: int) -> Spec:
    """The spec of the best samples, beside the base methods of the spec that was searched."""
    tuned = next(iter(search.spec.methods)).rpartition("-")[0]
    methods: dict[str, Mapping[str, Any]] = dict(resolved.methods)
    for number, sample in enumerate(search.best(count), 1):
        methods[f"{tuned}-{number}"] = search.spec.methods[sample.name]
    baseline = resolved.baseline if resolved.baseline in resolved.methods else next(iter(methods))
    about = (
        f"the best {count} of {len(search.samples)} settings of {tuned}, by {search.metric} on dev"
    )
    return replace(
        resolved,
        name=f"{resolved.name}-{tuned}-best",
        about=about,
        methods=methods,
        baseline=baseline,
    )


def _plain(value: Any) -> Any:
    """A value as YAML writes it: mappings, lists and plain values, without empty ones."""
    if isinstance(value, Mapping):
        stated = {name: part for name, part in value.items() if part not in (None, {}, [], ())}
        return {name: _plain(part) for name, part in stated.items()}
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    return value
