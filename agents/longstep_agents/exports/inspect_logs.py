"""Logs that Inspect's viewer opens, written by its own package: one for each part of a run."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from longstep_agents.evaluation.statistics import estimate
from longstep_agents.exports.episodes import Episode, Source, Step, read_source, safe
from longstep_agents.exports.files import new_folder
from longstep_agents.page import values
from longstep_envs.packages import needed

with needed("inspect"):
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalError,
        EvalLog,
        EvalMetric,
        EvalResults,
        EvalRetryError,
        EvalSample,
        EvalSampleLimit,
        EvalScore,
        EvalSpec,
        EvalStats,
        write_eval_log,
    )
    from inspect_ai.model import (
        ChatMessage,
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageTool,
        ChatMessageUser,
        ContentReasoning,
        ContentText,
        ModelOutput,
        ModelUsage,
    )
    from inspect_ai.scorer import Score
    from inspect_ai.tool import ToolCall

_LIMITS: Mapping[str, Any] = {
    "turn_limit": "turn",
    "token_limit": "token",
    "context_limit": "context",
    "time_limit": "time",
    "working_time": "working",
    "cost": "cost",
    "invalid_actions": "custom",
    "tool_loop": "custom",
}
"""Our stop reasons by Inspect's names of limits."""
_HARMLESS = re.compile(r"(?!.*\.\.)[\w.,:+@=~ -]+(/[\w.,:+@=~ -]+)*", re.ASCII)


def export(run: Path, out: Path) -> int:
    """Write the folder; how many episodes it has."""
    source = read_source(run)
    parts: dict[str, list[Episode]] = defaultdict(list)
    for episode in source:
        parts[episode.part or episode.phase].append(episode)
    began = _began(source, run)
    with new_folder(out) as folder:
        for number, (part, episodes) in enumerate(parts.items(), 1):
            log = _log(source, part, episodes, began)
            name = f"{began:%Y-%m-%dT%H-%M-%S+00-00}_{number}-{safe(part)}_{log.eval.eval_id}.eval"
            write_eval_log(log, str(folder / name))
    return len(source.places)


def _log(source: Source, part: str, episodes: Sequence[Episode], began: datetime) -> EvalLog:
    samples = list(_samples(episodes))
    tasks = list(dict.fromkeys(str(sample.id) for sample in samples))
    models = {episode.model for episode in episodes}
    model = models.pop() if len(models) == 1 else source.name
    identify = partial(_identity, source.name, began.isoformat())
    ended = began + timedelta(seconds=source.told["seconds"])
    packages = values.table(values.table(source.told["about"].get("made_with")).get("packages"))
    return EvalLog(
        status="success" if source.told["ended"] else "started",
        eval=EvalSpec(
            eval_id=identify(part),
            run_id=identify(),
            task_id=identify(part, "task"),
            created=began.isoformat(),
            task=part,
            solver=episodes[0].agent or None,
            model=f"longstep/{model or episodes[0].agent}",
            dataset=EvalDataset(name=part, samples=len(tasks), sample_ids=tasks),
            config=EvalConfig(epochs=max(sample.epoch for sample in samples)),
            packages={name: values.text(told) for name, told in packages.items()},
            metadata={"longstep": source.told["about"]},
        ),
        results=EvalResults(
            total_samples=len(samples),
            completed_samples=sum(sample.error is None for sample in samples),
            scores=[_mean(samples, name) for name in _headline_first(source, part)],
        ),
        stats=EvalStats(started_at=began.isoformat(), completed_at=ended.isoformat()),
        samples=samples,
    )


def _samples(episodes: Sequence[Episode]) -> Iterator[EvalSample]:
    """A sample for each episode that counts; one that was played again only lends its error."""
    epochs: Counter[str] = Counter()
    before: dict[tuple[str, int], list[str]] = defaultdict(list)
    for episode in episodes:
        if episode.superseded:
            before[episode.task_id, episode.attempt].append(episode.error)
            continue
        epochs[episode.task_id] += 1
        yield _sample(episode, epochs[episode.task_id], before[episode.task_id, episode.attempt])


def _sample(episode: Episode, epoch: int, before: Sequence[str]) -> EvalSample:
    scores = {"success": float(episode.success), "score": episode.score}
    messages = list(_messages(episode))
    usage = ModelUsage(
        input_tokens=episode.prompt_tokens,
        output_tokens=episode.sampled_tokens,
        total_tokens=episode.prompt_tokens + episode.sampled_tokens,
        total_cost=episode.cost,
    )
    kind = _LIMITS.get(episode.stop_reason)
    last = next((m.text for m in reversed(messages) if m.role == "assistant"), "")
    return EvalSample(
        id=_sample_id(episode.task_id),
        epoch=epoch,
        uuid=_identity(episode.run, episode.id),
        input=episode.opening,
        target="",
        messages=messages,
        output=ModelOutput.from_content(episode.model or episode.agent, last),
        scores={name: Score(value=value) for name, value in scores.items()},
        metadata=episode.model_dump(exclude={"steps", "final_observation"}),
        model_usage={episode.model: usage} if usage.total_tokens else {},
        total_time=episode.seconds,
        error=_error(episode.error) if episode.error else None,
        error_retries=[_retry(text) for text in before] or None,
        limit=EvalSampleLimit(type=kind, limit=episode.turns, reason=episode.stop_reason)
        if kind
        else None,
        turn_count=episode.turns,
    )


def _sample_id(task_id: str) -> str:
    """The task's id, unless it could lead out of the folder that an archive is unpacked to."""
    if _HARMLESS.fullmatch(task_id):
        return task_id
    return f"{safe(task_id)}-{_identity(task_id)[:8]}"


def _messages(episode: Episode) -> Iterator[ChatMessage]:
    identify = partial(_identity, episode.run, episode.id)
    yield ChatMessageUser(id=identify("0"), content=episode.opening)
    for number, step in enumerate(episode.steps):
        if step.for_memory:
            yield ChatMessageUser(id=identify("asked", str(number)), content=step.observation)
        calls = [
            ToolCall(
                id=f"call-{number + 1}-{place}", function=call["name"], arguments=call["arguments"]
            )
            for place, call in enumerate(step.calls, 1)
        ]
        yield ChatMessageAssistant(
            id=identify("said", str(number)),
            content=[ContentReasoning(reasoning=step.reasoning), ContentText(text=step.said)]
            if step.reasoning
            else step.said,
            tool_calls=calls or None,
            model=episode.model or None,
            metadata=_facts(step),
        )
        answer = episode.answer(number)
        if answer is None:
            continue
        told = identify("seen", str(number))
        if calls:
            call = calls[0]
            yield ChatMessageTool(
                id=told, content=answer, tool_call_id=call.id, function=call.function
            )
        else:
            yield ChatMessageUser(id=told, content=answer)
    if episode.error:
        yield ChatMessageSystem(id=identify("error"), content=episode.error)


def _facts(step: Step) -> dict[str, Any]:
    return step.model_dump(
        exclude={"observation", "text", "reasoning", "tokens"}, exclude_defaults=True
    )


def _headline_first(source: Source, part: str) -> list[str]:
    """The scores, of which the viewer shows the first among its tasks."""
    metric = next((p["metric"] for p in source.told["parts"] if p["name"] == part), "success")
    return sorted(("success", "score"), key=lambda name: name != metric)


def _mean(samples: Sequence[EvalSample], name: str) -> EvalScore:
    """Over all samples, with the standard error that evaluations tell, clustered by task."""
    by_task: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        by_task[str(sample.id)].append((sample.scores or {})[name].as_float())
    found = estimate(list(by_task.values()))
    metrics = {"mean": found.mean, "stderr": found.error}
    return EvalScore(
        name=name,
        scorer="longstep",
        scored_samples=len(samples),
        metrics={key: EvalMetric(name=key, value=value) for key, value in metrics.items()},
    )


def _error(message: str) -> EvalError:
    return EvalError(message=message, traceback=message, traceback_ansi=message)


def _retry(message: str) -> EvalRetryError:
    return EvalRetryError(message=message, traceback=message, traceback_ansi=message)


def _began(source: Source, run: Path) -> datetime:
    """When the evaluation began; for a training run, when its folder was last changed."""
    told = values.text(values.table(source.told["about"].get("made_with")).get("began"))
    try:
        return datetime.fromisoformat(told).astimezone(UTC)
    except ValueError:
        return datetime.fromtimestamp(int(run.stat().st_mtime), UTC)


def _identity(*place: str) -> str:
    """An id like those of Inspect, the same whenever the same is exported."""
    return sha256("\0".join(place).encode()).hexdigest()[:22]
