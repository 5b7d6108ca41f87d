import pytest

from longstep_tasks.suites import SUITES, Part, load_suite
from longstep_tasks.types import TasksError, UnknownTaskSetError


def test_a_part_draws_the_same_tasks_each_time_from_every_type() -> None:
    part = Part("search", "search", 10, "test", count=12)
    once, again = part.load(), part.load()
    assert [task.id for task in once] == [task.id for task in again]
    assert len({task.id for task in once}) == 12
    kinds = [task.task_type for task in once]
    assert max(map(kinds.count, kinds)) - min(map(kinds.count, kinds)) <= 1


def test_the_mini_suite_plays_without_any_download() -> None:
    for part in SUITES["all-mini"]:
        tasks = part.load()
        assert 0 < len(tasks) <= (part.count or len(tasks))
        assert len({task.env_id for task in tasks}) == 1


def test_an_environment_is_a_suite_of_its_own() -> None:
    (part,) = load_suite("longstep/Treasure-v0")
    assert {task.env_id for task in part.load()} == {"longstep/Treasure-v0"}


def test_a_name_that_is_almost_right_is_suggested() -> None:
    with pytest.raises(UnknownTaskSetError, match="did you mean 'webshop'"):
        load_suite("webshp")


def test_data_that_is_not_there_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALFWORLD_DATA", "LONGSTEP_DATA"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TasksError, match="no ALFWorld data for split 'valid_seen'"):
        SUITES["household"][0].load()


def test_software_engineering_is_told_with_tools_and_in_plain_text() -> None:
    (tools,), (plain,) = SUITES["swe"], SUITES["swe-text"]
    assert [task.id for task in tools.load()] == [task.id for task in plain.load()]
    assert {task.env_kwargs["protocol"] for task in plain.load()} == {"text"}
