import torch

from longstep_training.entropy import EntropyConfig, bonus


def test_the_bonus_lowers_the_loss_by_its_coefficient() -> None:
    entropy = torch.tensor([0.0, 2.0])
    assert bonus(entropy, EntropyConfig(coefficient=0.5)).tolist() == [0.0, -1.0]
    assert not bonus(entropy, EntropyConfig()).any()
