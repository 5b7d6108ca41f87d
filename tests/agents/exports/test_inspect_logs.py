import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from longstep_agents.evaluation.log import read_evaluation
from longstep_agents.evaluation.summary import summarise
from longstep_agents.exports import export

inspect_log = pytest.importorskip("inspect_ai.log", reason="pip install 'longstep[inspect]'")


def _samples(folder: Path) -> dict[str, Any]:
    """By task, in Inspect's order."""
    (info,) = inspect_log.list_eval_logs(str(folder))
    return {s.metadata["task_id"]: s for s in inspect_log.read_eval_log(info).samples}


def test_inspect_reads_the_log_of_a_part(evaluation: Path, tmp_path: Path) -> None:
    export("inspect", evaluation, tmp_path / "out")
    (info,) = inspect_log.list_eval_logs(str(tmp_path / "out"))
    log = inspect_log.read_eval_log(info)
    assert (log.status, log.eval.task, log.eval.model) == ("success", "treasure", "longstep/expert")
    assert len(log.samples) == log.results.completed_samples == 4
    (part,) = summarise(*read_evaluation(evaluation))
    means = {score.name: score.metrics["mean"].value for score in log.results.scores}
    assert means == {"success": part.success.mean, "score": part.score.mean}


def test_turns_come_with_what_they_earned(run: Path, tmp_path: Path) -> None:
    export("inspect", run, tmp_path / "out")
    samples = _samples(tmp_path / "out")
    won, failed = samples["train/7"], samples["train/8"]
    assert [message.role for message in won.messages] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "tool",
    ]
    assert won.messages[1].metadata["credit"] == 0.5
    assert won.messages[3].tool_calls[0].arguments == {"what": "gold"}
    assert won.messages[4].tool_call_id == won.messages[3].tool_calls[0].id
    assert won.scores["success"].value == 1.0
    assert failed.error.message == "RuntimeError: the world ended"


def test_archives_hold_no_names_that_lead_elsewhere(run: Path, tmp_path: Path) -> None:
    export("inspect", run, tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    names = zipfile.ZipFile(path).namelist()
    assert sum(name.startswith("samples/") for name in names) == 3
    assert not [n for n in names if n.startswith("/") or ".." in n or not n.isprintable()]
    assert next(iter(_samples(tmp_path / "out"))).startswith("../../../../etc/passwd")


def test_a_try_that_was_played_again_lends_its_error(evaluation: Path, tmp_path: Path) -> None:
    folder = tmp_path / "evaluation"
    (folder / "episodes").mkdir(parents=True)
    (folder / "evaluation.json").write_text((evaluation / "evaluation.json").read_text())
    lines = (evaluation / "episodes" / "eval.jsonl").read_text().splitlines()
    broken = {**json.loads(lines[0]), "outcome": "env_error", "error": "broke", "success": False}
    (folder / "episodes" / "eval.jsonl").write_text("\n".join([json.dumps(broken), *lines, ""]))
    assert export("inspect", folder, tmp_path / "out") == 5
    (info,) = inspect_log.list_eval_logs(str(tmp_path / "out"))
    samples = inspect_log.read_eval_log(info).samples
    assert len(samples) == 4
    (again,) = [s for s in samples if s.error_retries]
    assert (again.id, again.error_retries[0].message) == (broken["task_id"], "broke")
