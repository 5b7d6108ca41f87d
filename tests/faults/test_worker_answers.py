"""Answers of workers that nobody can use, and what an environment does to its whole process."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from longstep_envs import EnvPool, EpisodeReport, Slot
from longstep_envs.line import Listener
from longstep_envs.link import WorkerLink, WorkerLostError
from longstep_envs.types import ErrorInfo
from longstep_envs.wire import encode

FAULTY = "longstep/Faulty-v0"


class Wire:
    """A line whose worker answers as the test says."""

    pid, patience = 0, None
    listener: Listener | None = None

    def attach(self, listener: Listener) -> None:
        self.listener = listener

    def detach(self) -> None:
        self.listener = None

    def send(self, data: bytes) -> None:
        pass

    def leave(self, farewell: bytes) -> None:
        pass

    def kill(self) -> None:
        pass

    def gone(self) -> bool:
        return True

    def answers(self, *frames: list[Any]) -> None:
        assert self.listener is not None
        self.listener.received(b"".join(map(encode, frames)))


@pytest.mark.case(14)
@pytest.mark.parametrize("number", [1, 7])
def test_an_answer_that_comes_twice_or_to_no_question_is_nobodys(number: int) -> None:
    async def ask() -> tuple[Any, ErrorInfo]:
        wire = Wire()
        link = WorkerLink(wire, places=2)
        link.attach()
        first = link.post("step", 0, "look", seconds=None)
        wire.answers([1, True, "of the first", 0.0])
        second = link.post("step", 1, "look", seconds=None)
        wire.answers([number, True, "of the first, again", 0.0])
        with pytest.raises(WorkerLostError) as lost:
            await second.future
        return await first.future, lost.value.error

    answer, error = asyncio.run(ask())
    assert answer == "of the first"
    assert error["type"] == "ContractError"
    assert "not asked" in error["message"]


async def play(slot: Slot, seed: int) -> list[Any]:
    seen: list[Any] = [await slot.reset("train/1", seed)]
    for _ in range(4):
        seen.append(await slot.step("look"))
    return seen


def run(kinds: list[str], ledger: Path, rate: float) -> list[EpisodeReport[Any]]:
    """Eight episodes in one worker, of which some have a fault of these kinds."""
    options = {"rate": rate, "kinds": kinds, "within": 3, "ledger": str(ledger)}
    with EnvPool(FAULTY, options, workers=1) as pool:
        return asyncio.run(pool.run(range(8), play, concurrency=8))


@pytest.mark.case(17)
def test_what_an_environment_does_to_its_process_changes_no_episode_and_not_the_pool(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = Path.cwd()
    alone = run(["print"], tmp_path / "none", rate=0.0)
    beside = run(["print", "meddle", "leak"], tmp_path / "some", rate=1.0)
    assert [report.result for report in beside] == [report.result for report in alone]
    assert len(list((tmp_path / "some").glob("*.json"))) == 8
    assert capfd.readouterr() == ("", "")
    assert Path.cwd() == before


@pytest.mark.case(15)
@pytest.mark.parametrize(
    ("kind", "field"), [("nan_reward", "the reward is nan|'score'"), ("wrong_info", "info is")]
)
def test_a_breach_of_contract_names_the_environment_and_the_field(
    kind: str, field: str, tmp_path: Path
) -> None:
    for report in run([kind], tmp_path, rate=1.0):
        assert report.error is not None
        assert report.attempts == 1
        assert report.error["message"].startswith(f"{FAULTY}: ")
        with pytest.raises(AssertionError, match=field):
            raise AssertionError(report.error["message"])
