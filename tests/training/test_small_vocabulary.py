from pathlib import Path

import gymnasium
from transformers import AutoTokenizer

from longstep_agents.small_policy import UNKNOWN
from longstep_training.loop import make_policy
from longstep_training.recipe import TaskSource, TrainConfig


def test_a_small_policy_can_say_what_the_expert_says_where_no_commands_are_listed(
    tmp_path: Path,
) -> None:
    task = TaskSource(env_id="longstep/Search-v0").task_ids()[0]
    config = TrainConfig.model_validate(
        {
            "train": {"env_id": "longstep/Search-v0", "match": task, "turns": 8},
            "policy": {"vocabulary_episodes": 1},
        }
    )
    make_policy(config, tmp_path / "policy")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "policy")
    env = gymnasium.make("longstep/Search-v0")
    _, info = env.reset(seed=0, options={"task": task, "expert": True})
    assert "admissible_commands" not in info
    for action in info["expert_plan"]:
        assert UNKNOWN not in tokenizer.tokenize(action)
