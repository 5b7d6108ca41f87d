import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

from longstep_envs import ENVS, UnknownNameError, list_envs, make, register
from longstep_envs.treasure import TreasureEnv
from longstep_envs.types import BadValueError, PluginError

TREASURE = "longstep/Treasure-v0"


def test_gymnasium_makes_the_bare_environment() -> None:
    env = gymnasium.make(TREASURE, rooms=3)
    assert type(env) is TreasureEnv
    assert env.spec is not None
    assert env.spec.max_episode_steps is None
    assert make(TREASURE, rooms=3).reset(seed=1) == env.reset(seed=1)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("longstep/Tresure-v0", TREASURE),
        ("longstep/treasure-v0", TREASURE),
        ("treasure-v0", TREASURE),
        ("longstep/AlfWorld-v0", "longstep/ALFWorld-v0"),
    ],
)
def test_an_unknown_id_meets_a_suggestion(wrong: str, meant: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        make(wrong)
    assert str(caught.value) == (
        f"unknown environment {wrong!r}; did you mean {meant!r}? (`longstep envs` lists them)"
    )


def test_an_unknown_option_meets_the_known_ones() -> None:
    with pytest.raises(BadValueError, match="'room'; its options are: rooms, locks, split"):
        make(TREASURE, room=3)


def test_default_options_come_from_the_registration() -> None:
    register("test/Small-v0", "longstep_envs.treasure:TreasureEnv", rooms=2, locks=0)
    for env in (make("test/Small-v0"), gymnasium.make("test/Small-v0")):
        _, info = env.reset(seed=0, options={"expert": True})
        assert len(info["expert_plan"]) == 2


def test_bad_registrations_are_refused() -> None:
    with pytest.raises(BadValueError, match="already registered"):
        register(TREASURE, "somewhere:Else")
    with pytest.raises(BadValueError, match="'nocolon' is not"):
        register("test/A-v0", "nocolon")
    with pytest.raises(BadValueError, match="not an id"):
        register("not an id", "a.b:C")
    assert "test/A-v0" not in ENVS


def test_a_class_that_does_not_load_is_named_with_its_reason() -> None:
    register("test/Gone-v0", "no_such_module:Env")
    register("test/NotEnv-v0", "string:Template")
    with pytest.raises(PluginError, match="no_such_module:Env: ModuleNotFoundError"):
        make("test/Gone-v0")
    with pytest.raises(PluginError, match="is not a longstep_envs"):
        make("test/NotEnv-v0")
    listed = {entry.id: entry.error for entry in list_envs()}
    assert listed[TREASURE] is None
    assert "ModuleNotFoundError" in str(listed["test/Gone-v0"])


PLUGINS = """[longstep.envs]
acme/Maze-v0 = acme_maze:MazeEnv
acme/Broken-v0 = acme_broken:Env
acme bad id = acme_maze:MazeEnv
longstep/Treasure-v0 = acme_maze:MazeEnv
"""

USE = """
import gymnasium, longstep_envs
for make in (gymnasium.make, longstep_envs.make):
    print(type(make("acme/Maze-v0")).__name__)
print(type(longstep_envs.make("longstep/Treasure-v0")).__name__)
for entry in longstep_envs.list_envs():
    print(entry.id, "|", entry.error)
for env_id in ("acme/Broken-v0", "acme bad id"):
    try:
        longstep_envs.make(env_id)
    except longstep_envs.LongstepError as error:
        print(error)
"""


def test_plug_ins_are_found_and_a_broken_one_breaks_nothing_else(tmp_path: Path) -> None:
    package = tmp_path / "acme-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(PLUGINS)
    maze = "from longstep_envs.treasure import TreasureEnv\nclass MazeEnv(TreasureEnv): ...\n"
    (tmp_path / "acme_maze.py").write_text(maze)
    (tmp_path / "acme_broken.py").write_text("raise RuntimeError('engine not built')")
    shown = subprocess.run(
        [sys.executable, "-c", USE],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "MazeEnv\nMazeEnv\nTreasureEnv\n" in shown
    assert "acme/Maze-v0 | None" in shown
    assert "acme/Broken-v0 | environment 'acme/Broken-v0': cannot load" in shown
    assert "engine not built" in shown.splitlines()[-2]
    assert "acme bad id" in shown
    assert "(from acme)" in shown
    assert "longstep/Treasure-v0 (acme) |" in shown


def test_make_vec_keeps_text_whole() -> None:
    texts = {}
    for mode, options in ((None, {}), ("sync", {}), ("async", {"shared_memory": False})):
        envs = gymnasium.make_vec(TREASURE, 2, vectorization_mode=mode, vector_kwargs=options)
        first, _ = envs.reset(seed=1)
        second, _, _, _, infos = envs.step(("look", "dance"))
        texts[mode] = (first, second, list(infos["task_id"]))
        envs.close()
    alone = [make(TREASURE).reset(seed=seed)[0] for seed in (1, 2)]
    assert list(texts[None][0]) == alone
    assert texts[None][1][1] == "You cannot do that."
    assert texts[None] == texts["sync"] == texts["async"]


def test_the_shared_memory_that_would_corrupt_text_is_refused() -> None:
    with pytest.raises(ValueError, match="shared_memory=False"):
        gymnasium.make_vec(TREASURE, 2, vectorization_mode="async")


BLOCK = """
import sys, time
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "textworld", "alfworld", "vllm"}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
started = time.perf_counter()
import longstep_envs
seconds = time.perf_counter() - started
longstep_envs.make("longstep/Treasure-v0").reset(seed=0)
heavy = {"asyncio", "multiprocessing", "longstep_envs.alfworld", "pydantic"} & set(sys.modules)
print(seconds, sorted(heavy))
"""


def test_the_package_imports_fast_and_without_heavy_packages() -> None:
    outputs = [
        subprocess.run([sys.executable, "-c", BLOCK], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    seconds = min(float(output.stdout.split()[0]) for output in outputs)
    assert seconds < 0.5
    assert "longstep_envs.alfworld" not in outputs[0].stdout
