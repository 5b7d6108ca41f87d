import pytest

from longstep_agents.types import Completion, Group, Outcome, Step, Trajectory
from longstep_training.batch import AGGREGATIONS, build_row, build_rows, pack, pack_rows

FREE = Completion(ids=(11, 12, 1), logprobs=(-1.0, -2.0, -3.0))
BOUND = Completion(ids=(21, 22, 1), logprobs=(-0.5, 0.0, 0.0), allowed=((20, 21), (22,), (1,)))


def trajectory(*completions: Completion, outcome: Outcome = Outcome.OK) -> Trajectory:
    steps = tuple(Step(bridge_ids=(2, 3), completion=c) for c in completions)
    return Trajectory(steps, outcome=outcome)


def test_a_row_is_every_token_in_order_and_the_sampled_ones_are_chosen() -> None:
    row = build_row(trajectory(FREE, FREE), [0.5, -0.5])
    assert row.ids == [2, 3, 11, 12, 1, 2, 3, 11, 12, 1]
    assert row.positions == [2, 3, 4, 7, 8, 9]
    assert row.logprobs == [-1.0, -2.0, -3.0] * 2
    assert row.advantages == [0.5] * 3 + [-0.5] * 3
    assert row.admitted == [None] * 6


def test_forced_tokens_are_fed_but_not_chosen_and_the_row_ends_at_the_last_choice() -> None:
    row = build_row(trajectory(BOUND, BOUND), [1.0, 2.0])
    assert row.ids == [2, 3, 21, 22, 1, 2, 3, 21]
    assert row.positions == [2, 7]
    assert row.admitted == [(20, 21), (20, 21)]
    assert row.advantages == [1.0, 2.0]


def test_only_counted_trajectories_that_earned_something_become_rows() -> None:
    group = Group(
        (
            trajectory(FREE),
            trajectory(FREE, outcome=Outcome.ENV_ERROR),
            trajectory(FREE),
            trajectory(FREE, outcome=Outcome.TRUNCATED),
        )
    )
    rows = build_rows([group], [[[1.0], [1.0], [0.0], [-1.0]]])
    assert [row.advantages[0] for row in rows] == [1.0, -1.0]


def test_packing_keeps_every_row_once_and_within_the_budget() -> None:
    rows = [build_row(trajectory(*[FREE] * n), [1.0] * n) for n in (1, 2, 5, 1, 1)]
    batches = list(pack(rows, token_budget=12))
    assert [batch.ids_N.numel() for batch in batches] == [5, 10, 25, 10]
    assert list(pack([], token_budget=12)) == []


def test_a_batch_points_at_its_chosen_tokens() -> None:
    batch = pack_rows([build_row(trajectory(BOUND), [1.0]), build_row(trajectory(FREE), [2.0])])
    assert batch.targets_T.tolist() == [21, 11, 12, 1]
    assert batch.positions_N.tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
    assert batch.free_T.tolist() == [False, True, True, True]
    assert batch.admitted_TA is not None
    assert batch.admitted_TA.tolist() == [[20, 21], [-1, -1], [-1, -1], [-1, -1]]
    assert pack_rows([build_row(trajectory(FREE), [1.0])]).admitted_TA is None


def test_what_the_loss_is_a_mean_of_is_each_rows_own_matter() -> None:
    row = trajectory(FREE, BOUND)  # three chosen tokens in the first step, one in the second
    weights = {
        name: (built.weights, built.share)
        for name in AGGREGATIONS
        if (built := build_row(row, [1.0, 1.0], name))
    }
    assert weights["token"] == ([1.0] * 4, 4.0)
    assert weights["step"][0] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1.0])
    assert weights["step"][1] == 2.0
    assert weights["trajectory"] == ([0.25] * 4, 1.0)
    assert weights["trajectory_sum"] == ([1.0] * 4, 1.0)
    nothing = build_row(trajectory(), [], "trajectory")
    assert (nothing.weights, nothing.share) == ([], 0.0)


def test_a_batch_numbers_rows_and_steps() -> None:
    rows = [build_row(trajectory(BOUND, BOUND), [1.0, 1.0]), build_row(trajectory(FREE), [1.0])]
    batch = pack_rows(rows)
    assert batch.rows_T.tolist() == [0, 0, 1, 1, 1]
    assert batch.steps_T.tolist() == [0, 1, 2, 2, 2]
