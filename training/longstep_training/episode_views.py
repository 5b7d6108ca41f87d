"""Which episodes of a run are worth reading, and how a report shows them step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from markupsafe import Markup

from longstep_training.charts import credit_bar, credit_strip
from longstep_training.run_files import Episode, EpisodePlace
from longstep_training.terminal import clean

_MOST_STEPS = 60
_MOST_SIBLINGS = 16
_SHOWN, _OPENING_SHOWN, _FOLDED = 280, 1_200, 6_000
_NOTE = 160


@dataclass(frozen=True, slots=True)
class Passage:
    """A text of a model or an environment: its beginning, and the rest to be unfolded."""

    shown: str
    rest: str = ""
    hidden: int = 0
    """Characters left out altogether."""


@dataclass(frozen=True, slots=True)
class StepView:
    """One step as the report shows it."""

    number: int
    action: str
    result: Passage
    reward: float
    credit: float | None
    bar: Markup
    valid: bool
    twins: int
    """Other steps of the group, taken in the same state."""


@dataclass(frozen=True, slots=True)
class EpisodeView:
    """One episode as the report shows it."""

    title: str
    task_id: str
    success: bool
    score: float
    turns: int
    ending: str
    strip: Markup
    opening: Passage
    steps: list[StepView]
    hidden_steps: int


@dataclass(frozen=True, slots=True)
class _Scale:
    """What episodes that are shown together share."""

    credit: float
    columns: int
    states: Counter[str]


@dataclass(frozen=True, slots=True)
class GroupView:
    """The siblings of one task."""

    task_id: str
    iteration: int
    successes: int
    opening: Passage | None
    """What all siblings saw first; None where they differ."""
    episodes: list[EpisodeView]
    hidden: int


def choose_group(places: Sequence[EpisodePlace]) -> list[EpisodePlace]:
    """The latest group with successes and failures; else the latest group; else nothing."""
    groups: dict[object, list[EpisodePlace]] = {}
    for place in places:
        if place.group is not None and place.phase != "eval":
            key = (place.phase, place.iteration, place.group, place.task_id)
            groups.setdefault(key, []).append(place)
    siblings = [group for group in groups.values() if len(group) > 1]
    siblings.sort(key=lambda group: (_mixed(group), _with_credit(group), group[0].iteration))
    return siblings[-1] if siblings else []


def choose_singles(places: Sequence[EpisodePlace]) -> list[tuple[str, EpisodePlace]]:
    """Up to four telling episodes: the first failure and success, the last failure and success."""
    acted = [place for place in places if place.phase != "imitation"]
    order = sorted(acted, key=lambda place: place.iteration)
    wishes = (
        ("An early failure", order, False),
        ("An early success", order, True),
        ("A late failure", order[::-1], False),
        ("A late success", order[::-1], True),
    )
    chosen: list[tuple[str, EpisodePlace]] = []
    for title, candidates, success in wishes:
        place = next((place for place in candidates if place.success == success), None)
        if place is not None and all(place is not other for _, other in chosen):
            chosen.append((title, place))
    return chosen


def view_group(places: Sequence[EpisodePlace]) -> GroupView | None:
    """The siblings side by side, successes and failures by turns; credits share one scale."""
    if not places:
        return None
    episodes = _alternating([place.load() for place in places])
    shown = episodes[:_MOST_SIBLINGS]
    scale = _scale(shown, Counter(step.state_key for e in episodes for step in e.steps))
    openings = {_opening(episode) for episode in shown}
    return GroupView(
        task_id=clean(episodes[0].task_id, _NOTE),
        iteration=episodes[0].iteration,
        successes=sum(episode.success for episode in episodes),
        opening=openings.pop() if len(openings) == 1 else None,
        episodes=[_view(f"Sibling {i}", episode, scale) for i, episode in enumerate(shown, 1)],
        hidden=len(episodes) - len(shown),
    )


def view_single(title: str, place: EpisodePlace) -> EpisodeView:
    """One episode by itself, titled with its phase and iteration."""
    episode = place.load()
    where = f"{title} · {clean(episode.phase, 20)}, iteration {episode.iteration}"
    return _view(where, episode, _scale([episode], Counter()))


def _view(title: str, episode: Episode, scale: _Scale) -> EpisodeView:
    steps = episode.steps[:_MOST_STEPS]
    seen = [step.observation for step in episode.steps[1:]] + [episode.final_observation]
    cells = [
        (step.credit or 0.0, f"{number}. {clean(step.action, _NOTE)}")
        for number, step in enumerate(steps, 1)
    ]
    return EpisodeView(
        title=title,
        task_id=clean(episode.task_id, _NOTE),
        success=episode.success,
        score=episode.score,
        turns=len(episode.steps),
        ending=clean(episode.stop_reason or episode.outcome, 40).replace("_", " "),
        strip=credit_strip(cells, scale.credit, scale.columns),
        opening=_opening(episode),
        steps=[
            StepView(
                number=number,
                action=clean(step.action, _SHOWN),
                result=_passage(result),
                reward=step.reward,
                credit=step.credit,
                bar=credit_bar(step.credit or 0.0, scale.credit),
                valid=step.action_valid,
                twins=max(scale.states[step.state_key] - 1, 0) if step.state_key else 0,
            )
            for number, (step, result) in enumerate(zip(steps, seen, strict=False), 1)
        ],
        hidden_steps=len(episode.steps) - len(steps),
    )


def _opening(episode: Episode) -> Passage:
    """The first observation: it holds the task, and so is hardly folded."""
    return _passage(episode.steps[0].observation if episode.steps else "", _OPENING_SHOWN)


def _passage(text: str, shown: int = _SHOWN) -> Passage:
    whole = clean(text[:_FOLDED], _FOLDED).strip()
    hidden = max(len(text) - _FOLDED, 0)
    if len(whole) <= shown:
        return Passage(whole, hidden=hidden)
    cut = whole.rfind(" ", shown // 2, shown)
    cut = cut if cut > 0 else shown
    return Passage(whole[:cut], whole[cut:], hidden)


def _alternating(episodes: Sequence[Episode]) -> list[Episode]:
    """Successes and failures by turns, the shorter ones first: neighbours are worth comparing."""
    ordered = sorted(episodes, key=lambda episode: len(episode.steps))
    sides = ([e for e in ordered if e.success], [e for e in ordered if not e.success])
    pairs = zip_longest(*sides)
    return [episode for pair in pairs for episode in pair if episode is not None]


def _scale(episodes: Sequence[Episode], states: Counter[str]) -> _Scale:
    return _Scale(
        credit=max((abs(s.credit or 0.0) for e in episodes for s in e.steps), default=0.0),
        columns=min(max(len(e.steps) for e in episodes), _MOST_STEPS),
        states=states,
    )


def _mixed(group: Sequence[EpisodePlace]) -> bool:
    return len({place.success for place in group}) == 2


def _with_credit(group: Sequence[EpisodePlace]) -> bool:
    return any(place.has_credit for place in group)
