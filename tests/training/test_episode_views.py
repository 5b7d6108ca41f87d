from collections.abc import Callable
from pathlib import Path

from longstep_training.episode_views import choose_group, choose_singles, view_group, view_single
from longstep_training.run_files import EpisodePlace, read_run

END = "x" * 50_000
MakeRun = Callable[..., Path]


def place(
    iteration: int,
    group: int | None,
    success: bool,
    credit: bool = True,
    phase: str = "rl",
    task: str = "t",
) -> EpisodePlace:
    return EpisodePlace(Path("x"), 0, phase, iteration, group, task, success, credit)


def test_the_latest_mixed_group_is_chosen() -> None:
    mixed = [place(4, 1, True), place(4, 1, False)]
    solved = [place(9, 0, True), place(9, 0, True)]
    older = [place(2, 1, True), place(2, 1, False)]
    alone = [place(9, 5, True), place(8, None, False)]
    assert choose_group([*older, *solved, *alone, *mixed]) == mixed


def test_episodes_of_another_task_are_no_siblings() -> None:
    siblings = [place(4, 0, True), place(4, 0, False)]
    assert choose_group([*siblings, place(4, 0, True, task="other")]) == siblings


def test_without_a_mixed_group_the_latest_one_serves() -> None:
    groups = [place(i, 0, False) for i in (1, 1, 3, 3, 2, 2)]
    assert [p.iteration for p in choose_group(groups)] == [3, 3]
    assert choose_group([place(1, 0, True)]) == []


def test_single_episodes_show_early_and_late_without_repeating() -> None:
    places = [place(0, 0, False), place(5, 0, True), place(3, 0, False)]
    chosen = choose_singles([place(0, None, True, phase="imitation"), *places])
    assert [title for title, _ in chosen] == [
        "An early failure",
        "An early success",
        "A late failure",
    ]
    assert [p.iteration for _, p in chosen] == [0, 5, 3]


def test_neighbours_differ_and_every_sibling_keeps_its_result(make_run: MakeRun) -> None:
    group = view_group(choose_group(read_run(make_run()).episodes))
    assert group is not None
    assert [episode.success for episode in group.episodes[:4]] == [True, False, True, False]
    assert group.successes == sum(episode.success for episode in group.episodes)
    assert all(len(episode.steps) == episode.turns for episode in group.episodes)


def test_a_step_shows_what_its_action_led_to(make_run: MakeRun) -> None:
    chosen = read_run(make_run()).episodes[0]
    episode, view = chosen.load(), view_single("One", chosen)
    assert view.steps[0].result.shown in episode.steps[1].observation
    assert view.steps[-1].result.shown == episode.final_observation


def test_anchors_count_the_other_steps_in_the_same_state(make_run: MakeRun) -> None:
    group = view_group(choose_group(read_run(make_run()).episodes))
    assert group is not None
    # The invented siblings share their first two states and no other.
    assert [step.twins for step in group.episodes[0].steps[:3]] == [7, 7, 0]


def test_long_texts_fold_and_endless_ones_are_cut(tmp_path: Path) -> None:
    step = '{"observation": "%s", "action": "a"}'
    line = f'{{"steps": [{step}, {step}], "final_observation": "%s"}}\n'
    (tmp_path / "episodes").mkdir()
    (tmp_path / "episodes" / "a.jsonl").write_text(
        line % ("word " * 100, "two " * 100, "x" * 50_000)
    )
    view = view_single("One", read_run(tmp_path).episodes[0])
    assert (view.opening.shown, view.opening.rest) == (("word " * 100).strip(), "")
    first, end = view.steps[0].result, view.steps[1].result
    assert (first.shown + first.rest).split() == ["two"] * 100
    assert len(first.shown) <= 280
    assert len(end.shown + end.rest) + end.hidden == 50_000
    assert end.hidden == 44_000
