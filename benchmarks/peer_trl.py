"""TRL's `rollout_func` path on the workload of the rollout benchmark; `rollout.py` runs this.

    python peer_trl.py SIZES

SIZES is a JSON object with the sizes of the workload. Does a step for each line that it reads, and
prints one. Needs `trl`, which is not installed with us. As in TRL's own examples, every turn reads
the whole talk again with `model.generate`.
"""

import json
import os
import random
import sys
import time
from typing import Any

os.environ |= {"TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1"}

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    TrainerCallback,
)
from trl import GRPOConfig, GRPOTrainer


def make_model(sizes: dict[str, Any]) -> Qwen3ForCausalLM:
    """The benchmark's model, with transformers' own attention."""
    torch.manual_seed(0)
    return Qwen3ForCausalLM(Qwen3Config(**sizes["model"], pad_token_id=0, eos_token_id=1))


def make_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """TRL wants one; the rollouts below never use it."""
    words = {f"w{i}": i for i in range(vocabulary)}
    core = Tokenizer(models.WordLevel(words, unk_token="w2"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="w0", eos_token="w1")


class Rollout:
    """Plays the episodes of one iteration, and takes the time of each."""

    def __init__(self, sizes: dict[str, Any]) -> None:
        self.sizes = sizes
        self.episodes = sizes["groups"] * sizes["siblings"]
        draw = random.Random(0)
        self.prompt, self.seen = (
            [draw.randrange(10, 2000) for _ in range(sizes[name])]
            for name in ("prompt_tokens", "observation_tokens")
        )
        self.seconds = 0.0
        """CPU seconds of the last rollout."""

    def __call__(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """What TRL asks for: the tokens of every episode, and which of them were sampled."""
        model = trainer.accelerator.unwrap_model(trainer.model)
        model.eval()
        began = time.process_time()
        rows = [list(self.prompt) for _ in range(self.episodes)]
        logprobs: list[list[float]] = [[] for _ in rows]
        for _ in range(self.sizes["turns"]):
            new, scores = self._turn(model, torch.tensor(rows))
            for i, row in enumerate(rows):
                row += new[i].tolist() + self.seen
                logprobs[i] += scores[i].tolist() + [0.0] * len(self.seen)
        self.seconds = time.process_time() - began
        model.train()
        turn = [1] * self.sizes["action_tokens"] + [0] * len(self.seen)
        return {
            "prompt_ids": [list(self.prompt) for _ in rows],
            "completion_ids": [row[len(self.prompt) :] for row in rows],
            "logprobs": logprobs,
            "env_mask": [turn * self.sizes["turns"] for _ in rows],
        }

    @torch.no_grad()
    def _turn(self, model: Any, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        done = model.generate(
            input_ids=rows,
            attention_mask=torch.ones_like(rows),
            max_new_tokens=self.sizes["action_tokens"],
            min_new_tokens=self.sizes["action_tokens"],
            do_sample=True,
            top_k=0,
            return_dict_in_generate=True,
            output_scores=True,
            pad_token_id=0,
        )
        new = done.sequences[:, rows.shape[1] :]
        scores = torch.stack(done.scores, 1).float().log_softmax(-1)
        return new, scores.gather(-1, new[..., None])[..., 0]


class Steps(TrainerCallback):
    """Waits for a line before each step, and tells in another what CPU seconds it took."""

    def __init__(self, rollout: Rollout) -> None:
        self._rollout = rollout

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """A step begins: its rollout comes first."""
        sys.stdin.readline()
        self._began = time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """A step has ended, its optimiser's too."""
        seconds = time.process_time() - self._began
        told = {"rollout": self._rollout.seconds, "update": seconds - self._rollout.seconds}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


def main(sizes: dict[str, Any]) -> None:
    """Run TRL's trainer for so many steps."""
    torch.set_num_threads(1)
    rollout = Rollout(sizes)
    row = sizes["turns"] * (sizes["action_tokens"] + sizes["observation_tokens"])
    config = GRPOConfig(
        output_dir=sizes["folder"],
        per_device_train_batch_size=8,
        gradient_accumulation_steps=rollout.episodes // 8,
        num_generations=sizes["siblings"],
        max_steps=sizes["steps"],
        max_completion_length=row,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        beta=0.0,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )
    trainer = GRPOTrainer(
        model=make_model(sizes),
        reward_funcs=lambda completions, **_: [random.random() for _ in completions],
        args=config,
        train_dataset=Dataset.from_dict({"prompt": ["w3"] * 64}),
        processing_class=make_tokenizer(sizes["model"]["vocab_size"]),
        rollout_func=rollout,
    )
    trainer.add_callback(Steps(rollout))
    trainer.train()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
