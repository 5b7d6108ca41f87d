"""TRL's side of the benchmark of household tasks; `household_trl.py` runs this.

    PYTHONPATH=envs:agents:tasks python household_peer.py PLAN

PLAN is a JSON file that `household_trl.py` writes. Needs `trl` and `gymnasium`, and takes from
longstep what both sides must have alike: the games, the prompts' tokens and the commands'.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ |= {"TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1"}

import torch
from datasets import Dataset
from pace import Pace  # type: ignore[import-not-found]
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LogitsProcessor,
    LogitsProcessorList,
    TrainerCallback,
)
from trl import GRPOConfig, GRPOTrainer

from longstep_agents.actions import ActionConfig, choices
from longstep_agents.constraint import TokenTrie
from longstep_agents.messages import Message
from longstep_agents.render import Renderer
from longstep_envs import make

Node = dict[int, Any]


class Episode:
    """One game, and its tokens so far."""

    def __init__(self, rollout: "Rollout", task: str, seed: int) -> None:
        self._rollout = rollout
        self._env = make("longstep/ALFWorld-v0", games=rollout.plan["games"])
        seen, info = self._env.reset(seed=seed, options={"task": task})
        self.prompt = list(rollout.renderer.prompt([Message("user", seen)]))
        self.row = list(self.prompt)
        self.mask: list[int] = []
        self.admitted: list[tuple[int, ...]] = []
        self.turns, self.reward, self.over = 0, 0.0, False
        self._offer(info)

    def act(self, ids: Sequence[int]) -> None:
        """Carry out the command that these tokens say."""
        admitted = self.trie.admitted_along(ids)
        self.row += ids
        self.mask += [int(len(among) > 1) for among in admitted]
        self.admitted += admitted
        seen, reward, self.over, _, info = self._env.step(self._commands[tuple(ids)])
        self.turns += 1
        self.reward += float(reward) + self._rollout.plan["turn_reward"]
        self.over = self.over or self.turns == self._rollout.plan["turns"]
        if self.over:
            self._env.close()
            return
        before, after = self._rollout.bridge
        told = [*before, *self._rollout.renderer.encode(seen), *after]
        self.row += told
        self.mask += [0] * len(told)
        self.admitted += [()] * len(told)
        self._offer(info)

    def _offer(self, info: Any) -> None:
        said = choices(info["admissible_commands"], self._rollout.action)
        completion = self._rollout.renderer.completion
        self._commands = {completion(text): command for text, command in said.items()}
        self.trie = TokenTrie(self._commands)


class Admissible(LogitsProcessor):
    """Leaves of each row's logits those of the tokens that go on to a command."""

    def __init__(self, tries: Sequence[TokenTrie], pad: int, start: int) -> None:
        self._nodes: list[Node] = [trie.root for trie in tries]
        self._pad, self._start = pad, start

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores, with minus infinity wherever no command goes on."""
        if input_ids.shape[1] > self._start:
            last = input_ids[:, -1].tolist()
            self._nodes = [node.get(i, {}) for node, i in zip(self._nodes, last, strict=True)]
        admitted = [list(node) or [self._pad] for node in self._nodes]
        rows = [i for i, among in enumerate(admitted) for _ in among]
        columns = [token for among in admitted for token in among]
        left = torch.full_like(scores, -torch.inf)
        left[rows, columns] = scores[rows, columns]
        return left


class Rollout:
    """Plays an iteration's episodes.

    As in TRL's own loop over tools, all of them take a turn at once, and each turn reads the whole
    talk again.
    """

    def __init__(self, plan: dict[str, Any], tokenizer: Any) -> None:
        self.plan = plan
        self.renderer = Renderer(tokenizer)
        self.action = ActionConfig(**plan["action"])
        self.pad, self.end = tokenizer.pad_token_id, tokenizer.eos_token_id
        pieces = self.renderer._bridges["user"]
        assert pieces is not None
        self.bridge = pieces
        self.admitted: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        """By a row's tokens, what was admitted in the place of each that follows the prompt."""

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """What TRL asks for: the tokens of every episode, and which of them were chosen."""
        model = trainer.accelerator.unwrap_model(trainer.model)
        model.eval()
        drawn = [json.loads(prompt) for prompt in prompts]
        played = [Episode(self, task, seed) for task, seed in drawn]
        while live := [episode for episode in played if not episode.over]:
            for episode, ids in zip(live, self._turn(model, live), strict=True):
                episode.act(ids)
        model.train()
        self.admitted = {tuple(one.row): one.admitted for one in played}
        return {
            "prompt_ids": [one.prompt for one in played],
            "completion_ids": [one.row[len(one.prompt) :] for one in played],
            "logprobs": None,
            "env_mask": [one.mask for one in played],
            "reward": [one.reward for one in played],
        }

    @torch.no_grad()
    def _turn(self, model: Any, live: Sequence[Episode]) -> list[list[int]]:
        width = max(len(episode.row) for episode in live)
        rows = [[self.pad] * (width - len(one.row)) + one.row for one in live]
        seen = [[0] * (width - len(one.row)) + [1] * len(one.row) for one in live]
        done = model.generate(
            input_ids=torch.tensor(rows),
            attention_mask=torch.tensor(seen),
            max_new_tokens=self.plan["max_tokens"],
            do_sample=True,
            temperature=self.plan["temperature"],
            top_k=0,
            logits_processor=LogitsProcessorList(
                [Admissible([one.trie for one in live], self.pad, width)]
            ),
            pad_token_id=self.pad,
            eos_token_id=self.end,
        )
        new = done[:, width:].tolist()
        return [ids[: ids.index(self.end) + 1] for ids in new]


class Trainer(GRPOTrainer):  # type: ignore[misc]
    """TRL's, with log-probabilities among the admissible tokens, which are sampled from."""

    rollout: Rollout

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, **options: Any
    ) -> tuple[Any, Any, Any]:
        size = options.get("batch_size") or len(input_ids)
        found = [
            self._among_admitted(model, *part, logits_to_keep)
            for part in zip(input_ids.split(size), attention_mask.split(size), strict=True)
        ]
        logprobs, entropies = (torch.cat(parts) for parts in zip(*found, strict=True))
        return logprobs, entropies, None

    def _among_admitted(
        self, model: Any, ids: Any, seen: Any, keep: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        logits = model(input_ids=ids, attention_mask=seen, logits_to_keep=keep + 1).logits
        rows: list[int] = []
        places: list[int] = []
        columns: list[int] = []
        for i, (row, present) in enumerate(zip(ids, seen.bool(), strict=True)):
            admitted = self.rollout.admitted[tuple(row[present].tolist())]
            for j, among in enumerate(admitted):
                rows += [i] * len(among)
                places += [j] * len(among)
                columns += among
        left = torch.full_like(logits[:, :-1], -torch.inf)
        left[rows, places, columns] = logits[:, :-1][rows, places, columns]
        chosen = torch.zeros(left.shape[:2], dtype=torch.bool)
        chosen[rows, places] = True
        left = torch.where(chosen[..., None], left, 0.0)  # what was not chosen is masked later
        distribution = left.log_softmax(-1)
        told = distribution.gather(-1, ids[:, -keep:, None])[..., 0]
        entropy = -(distribution.exp() * distribution.clamp(min=-1e9)).sum(-1).detach()
        return told, entropy


class Paces(TrainerCallback):
    """Stops TRL's trainer every so many iterations."""

    def __init__(self, plan: dict[str, Any], model: Any, tokenizer: Any) -> None:
        self._pace = Pace(Path(plan["folder"]), plan["every"])
        self._updates, self._model, self._tokenizer = plan["updates"], model, tokenizer

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Wait for the start."""
        self._pace.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """An optimiser step has been taken."""
        iteration, rest = divmod(state.global_step, self._updates)
        if not rest and not self._pace.done(iteration, self._save):
            control.should_training_stop = True

    def _save(self, folder: Path) -> None:
        self._model.save_pretrained(folder)
        self._tokenizer.save_pretrained(folder)


def configure(plan: dict[str, Any]) -> GRPOConfig:
    """The plan in TRL's words."""
    drawn, micro = plan["episodes"], plan["micro_batch"]
    return GRPOConfig(
        output_dir=plan["folder"],
        per_device_train_batch_size=micro,
        steps_per_generation=drawn // micro,
        gradient_accumulation_steps=drawn // plan["updates"] // micro,
        num_generations=plan["siblings"],
        max_steps=plan["decay_steps"],
        learning_rate=plan["learning_rate"],
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": plan["final_fraction"]},
        adam_beta1=plan["betas"][0],
        adam_beta2=plan["betas"][1],
        max_grad_norm=plan["clip_norm"],
        temperature=plan["temperature"],
        scale_rewards="none",
        loss_type="dapo",
        epsilon=plan["clip_low"],
        epsilon_high=plan["clip_high"],
        beta=0.0,
        num_iterations=1,
        shuffle_dataset=False,
        max_completion_length=2048,
        seed=plan["seed"],
        report_to=[],
        logging_strategy="no",
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )


def main(plan: dict[str, Any]) -> None:
    """Train as the plan says."""
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(plan["warm"])
    model = AutoModelForCausalLM.from_pretrained(plan["warm"], dtype=torch.float32)
    paces = Paces(plan, model, tokenizer)
    rollout = Rollout(plan, tokenizer)
    kind = Trainer if plan["admissible_loss"] else GRPOTrainer
    trainer = kind(
        model=model,
        reward_funcs=lambda completions, reward, **_: reward,
        args=configure(plan),
        train_dataset=Dataset.from_dict({"prompt": [json.dumps(one) for one in plan["drawn"]]}),
        processing_class=tokenizer,
        rollout_func=rollout,
        callbacks=[paces],
    )
    trainer.rollout = rollout
    trainer.train()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
