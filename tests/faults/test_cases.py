import pytest
from benchmarks.reliability.evidence import ROOT, read_cases, read_mutants

MUTANTS = read_mutants()


def test_the_cases_are_numbered_without_a_gap() -> None:
    assert list(read_cases()) == list(range(1, 43))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant['case']}-{mutant['file']}")
def test_a_mutant_changes_code_that_is_there_and_names_a_test(mutant: dict[str, str]) -> None:
    assert (ROOT / mutant["file"]).read_text("utf-8").count(mutant["old"]) == 1
    path, _, name = mutant["test"].partition("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text("utf-8")
