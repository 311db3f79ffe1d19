"""Membership scores of molprivacy's own attacks and network on its AMES data, in one file for a test of ours.

molprivacy (Krueger et al., J. Cheminf. 17:38, 2025; MIT) wants Python 3.12 and versions of its own, so it is no
dependency: run this in an environment that has it (`pip install molprivacy`). Used are its data, fingerprints (ECFP4),
network, training (15 epochs), choice of shadow models and both attacks, online, as its `privacytest` runs them. Three
things are ours: the split by a seed, fixed settings of the network instead of ten minutes of search, and RMIA before
LiRA, which drops compounds from a list that both share.
usage: molprivacy_scores.py FILE.npz
"""

import logging
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if find_spec("leakpro") is None or len(sys.argv) < 2:
    sys.stdout.write("skipped: needs molprivacy, and the name of a file to write\n")
    sys.exit()

import lightning
import numpy as np
import pandas as pd
import torch
from leakpro.attacks.mia_attacks.lira import AttackLiRA
from leakpro.attacks.mia_attacks.rmia import AttackRMIA
from leakpro.attacks.utils.shadow_model_handler import ShadowModelHandler
from leakpro.user_inputs.abstract_input_handler import AbstractInputHandler
from moreno.config import Config
from moreno.models.MLP import MLPLightning
from moreno.utils.convert_representations import convert_dataset
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, TensorDataset

SEED, SPLIT, N_SHADOWS, EPOCHS = 1234, (0.45, 0.55), 10, 15  # of compounds: up to where training and validation reach
NETWORK = {"dropout": 0.5, "hidden_dim": 500, "num_hidden_layers": 1, "input_vec_dim": 2048, "learning_rate": 1e-3}


class Handler(AbstractInputHandler):  # type: ignore[misc]
    """What molprivacy's attacks ask for, as its `MorenoInputHandler` gives it, which needs chemprop."""

    def __init__(self, train: pd.DataFrame, test: pd.DataFrame, folder: Path) -> None:
        super().__init__({"shadow_model": {"storage_path": str(folder)}}, logging.getLogger("molprivacy"))
        both, _ = convert_dataset(pd.concat([train, test]), "ECFP4")
        self.inputs, self.labels = both.tensors
        self.population = both
        self.target_model_blueprint = MLPLightning
        n_train = len(train)
        self.target_model_metadata = {
            "train_indices": np.arange(n_train),
            "test_indices": np.arange(n_train, int(n_train + 0.5 * len(test))),
        }
        of_test = test["label"]
        Config.set_pos_weights(torch.tensor([float((of_test == 0).sum() / (of_test == 1).sum())]))
        network = MLPLightning(**NETWORK)
        self.train(self.get_dataloader(np.arange(n_train)), network)
        self.target_model = network.model

    def get_dataset(self, dataset_indices: NDArray[np.int64]) -> TensorDataset:
        """Some compounds of the population."""
        self._validate_indices(dataset_indices)
        return TensorDataset(self.inputs[dataset_indices], self.labels[dataset_indices])

    def get_dataloader(self, dataset_indices: NDArray[np.int64], batch_size: int = 64) -> DataLoader[Any]:
        """Batches of them, in their order."""
        return DataLoader(self.get_dataset(dataset_indices), batch_size=batch_size, shuffle=False)

    def get_dataloader_from_dataset(self, dataset: Dataset[Any]) -> DataLoader[Any]:
        """Batches of a data set, in its order."""
        return DataLoader(dataset, batch_size=64, shuffle=False)

    def get_target_replica(self) -> tuple[MLPLightning, None, None]:
        """A new network of the target's settings."""
        return MLPLightning(**NETWORK), None, None

    def get_criterion(self) -> torch.nn.Module:
        """The loss of the target."""
        return torch.nn.BCEWithLogitsLoss(pos_weight=Config.get_pos_weights())

    def get_optimizer(self, model: MLPLightning) -> torch.optim.Optimizer:
        """The optimiser of the target."""
        return model.configure_optimizers()

    def train(self, dataloader: DataLoader[Any], model: MLPLightning, *_: object) -> dict[str, Any]:
        """Train a network for fifteen epochs, with the network's own loss and optimiser, as molprivacy does."""
        trainer = lightning.Trainer(
            logger=False, enable_checkpointing=False, max_epochs=EPOCHS, accelerator="cpu", enable_progress_bar=False
        )
        trainer.fit(model, dataloader)
        model.eval()
        return {"model": model, "metrics": {"accuracy": None, "loss": None}}


def logits_of(network: torch.nn.Module, inputs: torch.Tensor) -> NDArray[np.float32]:
    """Logits of all compounds, (n,)."""
    network.eval()
    with torch.no_grad():
        return network(inputs).squeeze().numpy()  # type: ignore[no-any-return]


def signals(attack: AttackLiRA | AttackRMIA) -> NDArray[np.float64]:
    """Scores of members, then of others, (n,)."""
    return np.concatenate([attack.in_member_signals, attack.out_member_signals]).ravel()


def main() -> None:
    """Train target and shadows, run both attacks, write the file."""
    torch.manual_seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002 -- molprivacy draws from it
    data = pd.read_csv(Config.get_package_data_dir() / "ames.csv").sample(frac=1, random_state=SEED)
    train, test = data[: int(SPLIT[0] * len(data))], data[int(SPLIT[1] * len(data)) :]
    with tempfile.TemporaryDirectory() as folder:
        paths = {"train_data_path": Path(folder) / "train.csv", "representation": "ECFP4", "report_log": Path(folder)}
        train.to_csv(paths["train_data_path"], index=False)
        handler = Handler(train, test, Path(folder) / "shadows")
        ShadowModelHandler(handler)
        settings = {"num_shadow_models": N_SHADOWS, "training_data_fraction": 0.5, "online": True, **paths}
        rmia = AttackRMIA(handler, {**settings, "attack_data_fraction": 1.0})
        rmia.prepare_attack()
        of_rmia = rmia.run_attack()
        lira = AttackLiRA(handler, {**settings, "fixed_variance": True})
        lira.prepare_attack()
        of_lira = lira.run_attack()
        shadows = [logits_of(shadow.model_obj.model, handler.inputs) for shadow in rmia.shadow_models]
        everyone = np.arange(len(handler.population))
        inside = ShadowModelHandler().get_in_indices_mask(rmia.shadow_model_indices, everyone).T
    np.savez_compressed(
        sys.argv[1],
        label=handler.labels.numpy().astype(np.int8),
        n_train=len(train),
        n_judged=len(train) + int(0.5 * len(test)),
        target=logits_of(handler.target_model, handler.inputs).astype(np.float16),
        shadows=np.array(shadows).astype(np.float16),
        inside=np.packbits(inside, axis=1),
        rmia=signals(rmia).astype(np.float32),
        lira=-signals(lira).astype(np.float32),  # lower is a member there
        lira_skipped=np.flatnonzero(lira.skip_indices).astype(np.int32),
        rmia_curve=np.array([of_rmia["fpr"], of_rmia["tpr"]]),
        lira_curve=np.array([of_lira["fpr"], of_lira["tpr"]]),
    )


if __name__ == "__main__":
    main()
