import pytest
import torch

from longstep_training.loss import LOSSES, LossConfig, clip, reinforce

CONFIG = LossConfig(clip_low=0.2, clip_high=0.28)


def gradient(name: str, ratio: float, advantage: float) -> float:
    """Of the loss, by the log-probability, where the ratio to the old one is `ratio`."""
    new = torch.tensor([ratio]).log().requires_grad_()
    LOSSES[name](new, torch.zeros(1), torch.tensor([advantage]), CONFIG).sum().backward()
    assert new.grad is not None
    return float(new.grad)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.0, 2.0, -2.0),
        (1.27, 1.0, -1.27),
        (1.29, 1.0, 0.0),
        (0.5, 1.0, -0.5),
        (0.81, -1.0, 0.81),
        (0.79, -1.0, 0.0),
        (1.5, -1.0, 1.5),
    ],
)
def test_clip_stops_where_the_policy_has_moved_far_enough(
    ratio: float, advantage: float, expected: float
) -> None:
    assert gradient("clip", ratio, advantage) == pytest.approx(expected, abs=1e-5)


def test_at_ratio_one_both_losses_have_the_same_gradient() -> None:
    assert gradient("clip", 1.0, 0.7) == pytest.approx(gradient("reinforce", 1.0, 0.7))


def test_a_huge_ratio_stays_finite() -> None:
    far = clip(torch.tensor([900.0]), torch.tensor([0.0]), torch.tensor([-1.0]), CONFIG)
    assert torch.isfinite(far).all()


def test_reinforce_is_advantage_times_logprob() -> None:
    loss = reinforce(torch.tensor([-2.0]), torch.tensor([0.0]), torch.tensor([3.0]), CONFIG)
    assert loss.tolist() == [6.0]
