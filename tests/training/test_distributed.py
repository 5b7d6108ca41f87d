import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
import torch

from longstep_training.distributed import RankError, World, launch
from longstep_training.torchrun import LaunchError

sys.path.insert(0, str(Path(__file__).parent))  # spawned processes import the work by name
ranks = import_module("ranks")


@pytest.mark.parametrize("rows", [5, 1])
def test_two_processes_take_the_step_of_one(tmp_path: Path, rows: int) -> None:
    """Also where the second process has no row at all."""
    launch(1, ranks.update, tmp_path, rows)
    launch(2, ranks.update, tmp_path, rows)
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    for name in alone:
        assert torch.equal(first[name], second[name])
        assert torch.allclose(first[name], alone[name], atol=1e-5)
    norms = [float((tmp_path / f"{name}.txt").read_text()) for name in ("1-0", "2-0", "2-1")]
    assert norms == pytest.approx([norms[0]] * 3, rel=1e-4)


@pytest.mark.parametrize(("work", "error"), [(ranks.fail, RankError), (ranks.fail_late, RankError)])
def test_a_process_that_fails_ends_the_run(tmp_path: Path, work: object, error: type) -> None:
    started = time.monotonic()
    with pytest.raises(error):
        launch(2, work, tmp_path, 1)  # type: ignore[arg-type]
    assert time.monotonic() - started < 60


def test_shares_are_disjoint_and_whole() -> None:
    shares = [World(rank, 3).share(range(8)) for rank in range(3)]
    assert shares == [[0, 3, 6], [1, 4, 7], [2, 5]]


def test_processes_that_share_a_server_bring_it_each_policy_once(tmp_path: Path) -> None:
    pytest.importorskip("openai")
    launch(2, ranks.share_server, tmp_path)
    notes = sorted((tmp_path / "notes").read_text().splitlines())
    told = [note.split(" ", 1)[1] for note in notes]
    assert told[:3] == ["0 answered", "1 answered", "0 loaded"]  # not before all were answered
    assert told[3] == "0 loaded"
    assert sorted(told[4:]) == ["0 failed it has no room", "1 failed it has no room"]


def test_several_gpus_are_left_to_torchrun(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="torchrun --nproc-per-node 2 -m longstep_training"):
        launch(2, ranks.fail, tmp_path, 0, device="cuda")
