"""A network whose gradient is a sum of clipped gradients of single compounds, with noise (DP-SGD).

Abadi et al., CCS 2016. No gradient of a single compound is ever formed: that of a linear layer is the outer product of
the layer's input and of the loss's gradient at its output, so its length is the product of their lengths (Goodfellow,
2015, arXiv:1510.01799). With a bias it is |gradient at the output| sqrt(|input|^2 + 1). And the sum of clipped
gradients is the plain product, with each compound's gradient at the output times its factor, so one backward pass is
enough (book-keeping: Bu et al., ICML 2023).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from partners.network.batches import Batch, Targets
from partners.network.device import device_of
from partners.network.kernels import Observed, ObservedOutputs, head_gradients
from partners.network.model import Dropout, Gradients, Network, NonLinearities
from partners.network.state import CLASSIFICATION, Arrays
from partners.network.tied_heads import Groups
from partners.network.trunk import INPUT_BIAS, INPUT_WEIGHT, TrunkLayout
from partners.privacy.draws import KeyedNoise
from partners.settings import NoiseSettings, Training, TrunkSettings

_TINY = 1e-30  # instead of a length of zero


@dataclass(frozen=True, slots=True, eq=False)
class _Use:
    """One use of a linear layer in a forward pass."""

    layer: str
    hidden: torch.Tensor  # (n_rows, n_inputs), the layer's input
    output: torch.Tensor  # (n_rows, n_outputs), or (n_labels,) of a head's last layer
    labels: Observed | None = None  # only of a head's last layer


class NoisedNetwork(Network):
    """A network that bounds what one compound does to a step, and hides it in noise.

    The gradient after `loss_and_gradients` is (sum of clipped gradients + noise) / n_compounds, where n_compounds is
    the number expected in a batch. A compound's gradient is over all weights: trunk and heads, shared or not.
    """

    def __init__(
        self,
        layout: TrunkLayout,
        trunk: NDArray[np.float32],
        heads: Arrays,
        trunk_settings: TrunkSettings,
        training: Training,
        *,
        noise: NoiseSettings,
        in_place: bool = False,
        tied: Groups = (),
    ) -> None:
        functions = NonLinearities.of(trunk_settings, training)
        super().__init__(layout, trunk, heads, functions, device=device_of(training), in_place=in_place, tied=tied)
        self._settings, self._keyed_noise = noise, KeyedNoise(noise.key)
        self._uses: list[_Use] = []
        self._deviation = 0.0

    def each_gradient(self, use: Callable[[Gradients], None]) -> None:
        """Let `use` change all parameters by the noised gradients, some at a time; then forget the gradients."""
        leaves = [leaf for name, leaf in self.parameters.items() if name != INPUT_WEIGHT]
        gradients = [(leaf, torch.zeros_like(leaf) if leaf.grad is None else leaf.grad) for leaf in leaves]
        for leaf, gradient in gradients:
            leaf.grad = gradient
        self._tied.sum_gradients(self.parameters)
        for _, gradient in gradients:
            self._add_noise(gradient)
        self._tied.copy_gradients(self.parameters)
        use(gradients)
        self._forget_gradients()
        self.input_layer.each_gradient(self._parts, lambda piece, gradient: use([(piece, self._add_noise(gradient))]))
        self._parts = []
        self._tied.copy_weights(self.parameters)

    def _add_noise(self, gradient: torch.Tensor) -> torch.Tensor:
        self._keyed_noise.add_to(gradient, self._deviation)
        return gradient

    def _begin(self, n_compounds: float) -> None:
        """Forget the last batch; noise is of this batch even if it is empty."""
        super()._begin(n_compounds)
        self._deviation = self._settings.noise_multiplier * self._settings.clip_norm / n_compounds

    def _add_part(self, batch: Batch, n_compounds: float, dropout: Dropout | None) -> float:
        self._uses = []
        first = self.input_layer(batch.x).requires_grad_()
        loss = self._summed_loss(self.trunk_output(first, dropout), batch, dropout)
        slope, *slopes = torch.autograd.grad(loss, [first, *(use.output for use in self._uses)])
        squares = slope.square().sum(dim=1) * (batch.x.squared_norms() + 1)
        for use, at_output in zip(self._uses, slopes, strict=True):
            squares += self._squared_norms(use, at_output)
        factors = (self._settings.clip_norm / squares.sqrt().clamp(min=_TINY)).clamp(max=1) / n_compounds
        slope *= factors[:, None]
        self._parts.append((batch.x, slope))
        self._add_gradient(INPUT_BIAS, slope.sum(dim=0))
        for use, at_output in zip(self._uses, slopes, strict=True):
            self._add_layer(use, at_output, factors)
        self._uses = []
        return float(loss.detach()) / n_compounds

    def _squared_norms(self, use: _Use, slope: torch.Tensor) -> torch.Tensor:
        """Squared length of each compound's gradient in one layer, (n_rows,)."""
        at_output = slope.square().sum(dim=1) if use.labels is None else self._label_squares(use, slope)
        return at_output * (use.hidden.square().sum(dim=1) + 1)

    def _label_squares(self, use: _Use, slope: torch.Tensor) -> torch.Tensor:
        """Squared length of each compound's gradient at a head's outputs; labels of tied tasks train one row."""
        labels = use.labels
        if labels is None:
            raise ValueError(f"{use.layer}: found no labels, expected a head's last layer")
        n_rows, n_tasks = labels.shape
        rows, first = labels.rows, self._tied.firsts(n_tasks) if use.layer == CLASSIFICATION else None
        if first is not None:
            weights, of_label = torch.unique(rows * n_tasks + first[labels.tasks.long()], return_inverse=True)
            slope = torch.zeros(weights.numel(), device=slope.device).index_add_(0, of_label, slope)
            rows = weights // n_tasks
        return torch.zeros(n_rows, device=slope.device).index_add_(0, rows, slope.square())

    def _add_layer(self, use: _Use, slope: torch.Tensor, factors: torch.Tensor) -> None:
        """Add a layer's sum of clipped gradients."""
        if use.labels is None:
            slope = slope * factors[:, None]
            of_weight, of_bias = slope.T @ use.hidden, slope.sum(dim=0)
        else:
            of_weight, of_bias = head_gradients(slope * factors[use.labels.rows], use.hidden, use.labels)
        self._add_gradient(f"{use.layer}.weight", of_weight)
        self._add_gradient(f"{use.layer}.bias", of_bias)

    def _add_gradient(self, name: str, gradient: torch.Tensor) -> None:
        leaf = self.parameters[name]
        leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient

    def _observed(self, kind: str, hidden: torch.Tensor, targets: Targets, dropout: Dropout | None) -> torch.Tensor:
        hidden = self._head_input(kind, hidden, dropout)
        last = (self.parameters[f"{kind}.weight"].detach(), self.parameters[f"{kind}.bias"].detach())
        outputs: torch.Tensor = ObservedOutputs.apply(hidden, *last, targets.pattern)  # type: ignore[no-untyped-call]
        self._uses.append(_Use(kind, hidden.detach(), outputs, targets.pattern))
        return outputs

    def _linear(self, hidden: torch.Tensor, layer: str) -> torch.Tensor:
        weight, bias = self.parameters[f"{layer}.weight"].detach(), self.parameters[f"{layer}.bias"].detach()
        output = torch.nn.functional.linear(hidden, weight, bias)
        self._uses.append(_Use(layer, hidden.detach(), output))
        return output
