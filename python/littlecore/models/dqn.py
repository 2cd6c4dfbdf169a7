"""Deep Q-networks for Atari games: that of Mnih et al., Nature 2015, and the smaller one of their first report, 2013.

Input: the last four screens, grey, 84 x 84, of 0..1. Output: the value of every action.
"""

from __future__ import annotations

from typing import Any

from .. import nn
from .._core import Tensor


class DQN(nn.Module):
    """[N, 4, 84, 84] -> [N, actions]. size: "nature" (3 convolutions, 512 hidden units) or "small" (2, 256)."""

    def __init__(self, actions: int, size: str = "nature", frames: int = 4) -> None:
        super().__init__()
        if size == "nature":
            layers = [
                nn.Conv2d(frames, 32, 8, stride=4), nn.ReLU(),  # -> [N, 32, 20, 20]
                nn.Conv2d(32, 64, 4, stride=2), nn.ReLU(),  # -> [N, 64, 9, 9]
                nn.Conv2d(64, 64, 3), nn.ReLU(),  # -> [N, 64, 7, 7]
            ]  # fmt: skip
            places, hidden = 64 * 7 * 7, 512
        elif size == "small":
            layers = [
                nn.Conv2d(frames, 16, 8, stride=4), nn.ReLU(),  # -> [N, 16, 20, 20]
                nn.Conv2d(16, 32, 4, stride=2), nn.ReLU(),  # -> [N, 32, 9, 9]
            ]  # fmt: skip
            places, hidden = 32 * 9 * 9, 256
        else:
            raise ValueError(f"dqn: size must be 'nature' or 'small', got {size!r}")
        self.network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(places, hidden), nn.ReLU(),
                                     nn.Linear(hidden, actions))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[-2:]) != (84, 84):
            raise ValueError(f"dqn: screens are {tuple(x.shape[-2:])}, expected (84, 84)")
        return self.network(x)


def dqn(actions: int, **options: Any) -> DQN:
    """The network of Nature 2015: 1,686,180 parameters for four actions."""
    return DQN(actions, **options)
