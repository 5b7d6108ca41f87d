import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from longstep_agents.evaluation.contestants import BUILT_IN
from longstep_agents.evaluation.log import read_evaluation
from longstep_agents.evaluation.run import Evaluation
from longstep_agents.evaluation.summary import Results, summarise
from longstep_agents.notebook import results_html, trajectory_html
from longstep_agents.types import Completion, Step, Trajectory
from longstep_tasks.suites import Part

HOSTILE = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "</td></tr></table><style>*{display:none}</style>",
    "\"'><svg onload=alert(1)>",
    "javascript:alert(1) &lt;b&gt; ]]> <!-- -->",
]
STEPS = (
    Step("A hall.", "go north", completion=Completion(text="<think>north?</think>go north")),
    Step("A door.", "open door", reward=1.0),
    Step("noted", "note", target="tool"),
    Step("A room.", "fly", action_valid=False, fault="unknown"),
)


class Reader(HTMLParser):
    """The tags and the attributes of a document, and its text by cells."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags, self.attributes = set[str](), set[str]()
        self.cells: list[str] = []
        self.styles: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "td":
            self.cells.append("")
            self.styles.append(str(dict(attrs)["style"]))

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


def test_every_step_is_a_row(tmp_path: Path) -> None:
    played = Trajectory(
        STEPS, "train/0", "longstep/Treasure-v0", score=0.5, final_observation="On."
    )
    read = Reader(played._repr_html_())
    assert read.cells[:4] == ["0", "A hall.", "go north\n\n<think>north?</think>go north", "0"]
    assert read.cells[4:8] == ["1", "A door.", "open door", "+1"]
    assert read.cells[10] == "note\n[tool]"
    assert read.cells[14] == "fly\n[unknown]"
    assert read.cells[-4:] == ["", "On.", "", ""]
    assert "longstep/Treasure-v0 · train/0 · not solved · score 0.5 · ok" in played._repr_html_()


def test_credit_stands_on_ground_of_its_colour() -> None:
    read = Reader(trajectory_html(Trajectory(STEPS), [0.5, -0.25, 0.0, 0.125]))
    assert read.cells[4::5] == ["+0.5", "-0.25", "+0", "+0.125", ""]
    grounds = [style.partition("background:")[2] for style in read.styles[4::5]]
    assert grounds[0] == "rgba(34,160,90,0.50)"
    assert grounds[1] == "rgba(220,70,60,0.25)"
    assert grounds[2].endswith("0.00)")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(text: str) -> None:
    step = Step(text, text, target="tool", fault=text, completion=Completion(text=text + "!"))
    played = Trajectory((step,), text, text, stop_reason=text, final_observation=text)
    (summary,) = summaries(text)
    for document in (trajectory_html(played, [1.0]), results_html([summary])):
        read = Reader(document)
        assert read.tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td"}
        assert read.attributes == {"style"}
        assert any(text in cell for cell in read.cells)


def test_what_steers_a_reader_does_not_come_through() -> None:
    html = Trajectory((Step("\x1b[2J\u202eevil\x00\ud800", "go"),))._repr_html_()
    assert "evil" in html
    assert not set("\x1b\u202e\x00\ud800") & set(html)
    assert html.encode()


def test_long_episodes_and_long_texts_are_capped() -> None:
    step = Step("x" * 1_000_000, "y" * 1_000_000, completion=Completion(text="z" * 1_000_000))
    html = Trajectory((step,) * 1_000, final_observation="w" * 1_000_000)._repr_html_()
    assert len(html) < 1_000_000
    assert "800 more steps" in html
    assert "characters left out" in html


def summaries(name: str = "treasure") -> Results:
    header = {"asked": {"parts": [{"name": name, "metric": "success"}]}}
    row = {
        "part": name,
        "task_id": "a",
        "attempt": 0,
        "task_type": "",
        "outcome": "ok",
        "stop_reason": "success",
        "success": True,
        "score": 1.0,
        "turns": 3,
        "seconds": 1.0,
        "tokens": {"prompt": 0, "sampled": 0},
    }
    return summarise(header, [row])


def test_results_are_a_list_and_a_table(tmp_path: Path) -> None:
    part = Part("treasure", "treasure", turns=30, split="test", count=4)
    Evaluation([part], BUILT_IN["expert"]).play(tmp_path / "run")
    found = summarise(*read_evaluation(tmp_path / "run"))
    assert [one.name for one in found] == ["treasure"]
    read = Reader(found._repr_html_())
    assert read.cells[:2] == ["treasure", "100.0 % [51.0, 100.0]"]
    assert read.cells[3:5] == ["4", "4"]
    assert replace(found[0], name="x") not in found


def test_nothing_is_loaded_before_a_notebook_asks() -> None:
    code = "import sys, longstep_agents.types; print('longstep_agents.notebook' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
