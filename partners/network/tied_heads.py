"""Heads of several classification tasks that are one: all their labels train one row of weights."""

from collections.abc import Mapping, Sequence

import torch

from partners.network.state import HEAD_BIAS, HEAD_WEIGHT

Groups = Sequence[Sequence[int]]  # of classification tasks; a task is in at most one


class TiedHeads:
    """Groups of tasks whose heads begin a training equal, and stay so to the last bit.

    Their gradients are summed, which is the gradient of one head with all their labels. Weights are copied after every
    step too: torch computes the end of an array with other instructions than its middle, and may round otherwise.
    """

    def __init__(self, groups: Groups, device: str = "cpu") -> None:
        self._others: list[tuple[torch.Tensor, torch.Tensor]] = []  # the groups' first tasks, and their second, ...
        for place in range(1, max(map(len, groups), default=0)):
            pairs = [(group[0], group[place]) for group in groups if len(group) > place]
            firsts, others = torch.tensor(pairs, device=device).unbind(1)
            self._others.append((firsts, others))

    def firsts(self, n_tasks: int) -> torch.Tensor | None:
        """First task of each task's group, (n_tasks,), itself for a task that is in none; None if no head is tied."""
        if not self._others:
            return None
        first = torch.arange(n_tasks, device=self._others[0][0].device)
        for firsts, others in self._others:
            first[others] = firsts
        return first

    def copy_gradients(self, parameters: Mapping[str, torch.Tensor]) -> None:
        """Give all heads of a group the gradient of its first, in place."""
        for gradient in (parameters[name].grad for name in (HEAD_WEIGHT, HEAD_BIAS) if self._others):
            if gradient is not None:
                self._copy(gradient)

    def sum_gradients(self, parameters: Mapping[str, torch.Tensor]) -> None:
        """Give all heads of a group the sum of their gradients, in place, always in the same order."""
        for gradient in (parameters[name].grad for name in (HEAD_WEIGHT, HEAD_BIAS) if self._others):
            if gradient is not None:
                for firsts, others in self._others:
                    gradient[firsts] += gradient[others]
                self._copy(gradient)

    def copy_weights(self, parameters: Mapping[str, torch.Tensor]) -> None:
        """Give all heads of a group the weights of its first, in place."""
        with torch.no_grad():
            for name in (HEAD_WEIGHT, HEAD_BIAS) if self._others else ():
                self._copy(parameters[name])

    def _copy(self, heads: torch.Tensor) -> None:
        for firsts, others in self._others:
            heads[others] = heads[firsts]
