import signal
import subprocess
import sys
from pathlib import Path

import pytest

from longstep_envs.types import BadValueError
from longstep_training.config import build_config
from longstep_training.loop import train
from longstep_training.recipe import TrainConfig
from longstep_training.run_lock import RunLock

HOLDER = """
import sys, time
from pathlib import Path
from longstep_training.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.case(29)
def test_a_second_run_in_a_folder_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    folder, lock = tmp_path / "run", RunLock(tmp_path / "run")
    lock.acquire()
    source = {"env_id": "longstep/Treasure-v0", "env_kwargs": {"split": "train"}}
    tree = {"train": source, "rl": {"iterations": 0}, "imitation": {"iterations": 0}}
    config = build_config(TrainConfig, tree, "test")
    for resume in (False, True):
        with pytest.raises(BadValueError, match=r"another process trains in .*run; wait"):
            train(config, folder, resume)
    assert [path.name for path in folder.iterdir()] == [".lock"]
    lock.close()
    RunLock(folder).acquire()


@pytest.mark.case(29)
def test_a_killed_run_leaves_its_folder_to_others(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BadValueError, match="another process"):
            RunLock(tmp_path).acquire()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    RunLock(tmp_path).acquire()
