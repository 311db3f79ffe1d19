"""Models are written for SparseChem and read back, and wrong files are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partners.errors import ForeignModel, StateMismatch, TrunkMismatch
from partners.files.sparsechem_model import SparseChemModel, read_sparsechem, write_sparsechem
from partners.network.inference import predict
from partners.settings import ClassificationHead, RegressionHead, Training, TrunkSettings
from partners.training.training import train_round
from tests.support.partners.synthetic import hybrid_set, small_trunk

_KINDS = {"class": (7, 0), "regr": (0, 4), "hybrid": (7, 4)}
_EXTRA = Training(
    optimiser="sgd",
    momentum=0.5,
    learning_rate=1e-2,
    lr_steps=(3, 5),
    weight_decay=1e-4,
    internal_batch_max=50,
    regression_weight=0.25,
    head_dropout=0.1,
    classification=ClassificationHead(hidden=(11,), dropouts=(0.3,)),
    regression=RegressionHead(hidden=(9, 5, 6), dropouts=(0.1, 0.2, 0.3)),
)


def _model(kind: str = "hybrid", training: Training = Training(), **trunk: Any) -> SparseChemModel:  # noqa: ANN401, B008
    layout, first, _ = small_trunk(16, 8)
    settings = TrunkSettings(hidden=(16, 8), **trunk)
    n_tasks, n_regressions = _KINDS[kind]
    data = hybrid_set(0, n_tasks=n_tasks, n_regressions=n_regressions)
    result = train_round(data, first, None, layout, settings, training, 0, 5)
    return SparseChemModel(layout, first + result.trunk_change, result.state, settings, training)


def _written(folder: Path, model: SparseChemModel) -> tuple[Path, Path]:
    files = folder / "model.pt", folder / "model.json"
    write_sparsechem(model, *files)
    return files


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("extra", [False, True])
def test_models_are_read_back_bit_for_bit(tmp_path: Path, kind: str, extra: bool):  # noqa: FBT001 -- a parameter
    """Every weight, mean and deviation comes back bit for bit, and so do all settings that SparseChem has."""
    trunk = {"dropout": (0.5, 0.25), "non_linearity": "tanh", "input_transform": "log1p"} if extra else {}
    model = _model(kind, _EXTRA if extra else Training(normalise_regression=False), **trunk)
    back = read_sparsechem(*_written(tmp_path, model))
    np.testing.assert_array_equal(back.trunk, model.trunk)
    for ours, theirs in (
        (model.state.heads, back.state.heads),
        (model.state.normalisation, back.state.normalisation),
    ):
        assert list(ours) == list(theirs)
        for name, array in ours.items():
            np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    assert back.layout == model.layout
    assert back.trunk_settings.dropouts[0] == model.trunk_settings.dropouts[0]
    assert back.trunk_settings.dropouts[1] == (0.1 if extra else 0.6)
    for key in ("optimiser", "momentum", "learning_rate", "lr_steps", "lr_alpha", "weight_decay", "regression_weight"):
        assert getattr(back.training, key) == getattr(model.training, key)
    if kind == "hybrid":
        assert (back.training.classification, back.training.regression) == (
            model.training.classification,
            model.training.regression,
        )
    again = _written(tmp_path, back)
    first = [file.read_bytes() for file in again]
    assert [file.read_bytes() for file in _written(tmp_path, read_sparsechem(*again))] == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.pt"]


def test_an_imported_model_can_be_trained_further(tmp_path: Path):
    """It has an optimiser before its first step, so a round can start from it."""
    back = read_sparsechem(*_written(tmp_path, _model()))
    result = train_round(hybrid_set(0), back.trunk, back.state, back.layout, back.trunk_settings, back.training, 1, 3)
    assert result.state.n_steps == 3
    assert result.trunk_change.any()


class _TheirNetwork(torch.nn.Module):
    """A network with SparseChem's module names, built from the settings file alone."""

    def __init__(self, conf: dict[str, Any]) -> None:
        super().__init__()
        sizes, function = conf["hidden_sizes"], {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}
        entry = torch.nn.Module()
        entry.net_freq = torch.nn.Module()
        entry.net_freq.weight = torch.nn.Parameter(torch.zeros(conf["input_size_freq"], sizes[0]))
        entry.net_freq.bias = torch.nn.Parameter(torch.zeros(sizes[0]))
        middle = torch.nn.Module()
        middle.net = torch.nn.Sequential()
        for i in range(len(sizes) - 1):
            part = [
                function[conf["middle_non_linearity"]](),
                torch.nn.Dropout(),
                torch.nn.Linear(sizes[i], sizes[i + 1]),
            ]
            middle.net.add_module(f"layer_{i}", torch.nn.Sequential(*part))
        self.net = torch.nn.ModuleList([entry, middle])
        self.classLast = self._head(
            torch.nn.ReLU, sizes[-1], conf["last_hidden_sizes_class"], conf["class_output_size"]
        )
        regression = self._head(torch.nn.Tanh, sizes[-1], conf["last_hidden_sizes_reg"], conf["regr_output_size"])
        self.regrLast = torch.nn.ModuleList([regression])
        self.register_buffer("regmask", torch.ones(1, sizes[-1]))
        self.register_buffer("classmask", torch.ones(1, sizes[-1]))

    @staticmethod
    def _head(function: Callable[[], torch.nn.Module], width: int, hidden: list[int] | None, n: int) -> torch.nn.Module:
        sizes, head = [width, *(hidden or []), n], torch.nn.Module()
        head.net = torch.nn.Sequential()
        for i in range(len(sizes) - 1):
            last = i == len(sizes) - 2
            name = "initial_layer" if i == 0 else "last_layer" if last else f"layer_{i - 1}"
            linear = torch.nn.Linear(sizes[i], sizes[i + 1])
            head.net.add_module(name, torch.nn.Sequential(function(), torch.nn.Dropout(), linear))
        return head

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        entry = self.net[0].net_freq
        hidden = self.net[1].net(x @ entry.weight + entry.bias)
        return self.classLast.net(hidden * self.classmask), self.regrLast[0].net(hidden * self.regmask)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("training", [Training(), _EXTRA], ids=["plain", "extra"])
def test_its_network_loads_the_file_and_predicts_the_same(tmp_path: Path, kind: str, training: Training):
    """SparseChem's network, built from conf, loads the state_dict strictly; with stats it gives our predictions."""
    model = _model(kind, training, non_linearity="tanh")
    model_file, settings_file = _written(tmp_path, model)
    content = json.loads(settings_file.read_text())
    assert content["conf"]["scaling_regularizer"] == np.inf
    network = _TheirNetwork(content["conf"])
    network.load_state_dict(torch.load(model_file, weights_only=True), strict=True)
    x = hybrid_set(0).x
    with torch.no_grad():
        logits, values = network.eval()(torch.tensor(x.toarray()))
    ours = predict(x, model.trunk, model.state, model.layout, model.trunk_settings, model.training)
    np.testing.assert_allclose(ours.probabilities, torch.sigmoid(logits).numpy(), atol=1e-6)
    if kind != "class":
        mean, variance = (np.array(content["stats"][key]) for key in ("mean", "var"))
        np.testing.assert_allclose(ours.values, values.numpy() * np.sqrt(variance) + mean, atol=1e-5)


def test_the_settings_file_is_strict_json(tmp_path: Path):
    """The file has no NaN and no Infinity, which strict JSON does not have."""
    _, settings_file = _written(tmp_path, _model())

    def refuse(token: str) -> None:
        raise AssertionError(token)

    json.loads(settings_file.read_text(), parse_constant=refuse)


def test_heads_that_sparsechem_lacks_are_refused_and_leave_no_file(tmp_path: Path):
    """SparseChem has relu for classification and tanh for regression; other choices are refused."""
    model = _model(training=Training(regression=RegressionHead(non_linearity="relu")))
    with pytest.raises(ForeignModel, match=r"relu .*relu .*relu and tanh"):
        _written(tmp_path, model)
    assert list(tmp_path.iterdir()) == []


def _conf(**changes: object) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["conf"].update(changes)


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["conf"].pop(key) and None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_conf(enable_cat_fusion=1), "enable_cat_fusion: found 1"),
        (_conf(fold_inputs=50), "fold_inputs: found 50"),
        (_conf(scaling_regularizer=0.1), "scaling_regularizer: found 0.1"),
        (_conf(input_size_freq=50), r"input_size_freq: found 50, .*\b96 inputs"),
        (_conf(input_size=97, input_size_freq=97), r"trunk\.0\.weight .*\(96, 16\), .*\(97, 16\)"),
        (_conf(hidden_sizes=[16]), "one share, or 1, "),
        (_conf(hidden_sizes=[16, 8, 4], dropouts_trunk=[0, 0, 0]), r"tensors .* net\.1\.net\.layer_1\.2\.bias"),
        (_conf(class_output_size=8), r"classification\.bias .*\(7,\), .*\(8,\)"),
        (_conf(class_output_size="many"), r"expected \('many',"),
        (_conf(hidden_sizes=[16, 9]), r"trunk\.1\.weight .*\(8, 16\), .*\(9, 16\)"),
        (_conf(middle_non_linearity="selu"), "non_linearity: found 'selu'"),
        (_conf(lr=-1), "learning_rate: found -1"),
        (_without("hidden_sizes"), "no setting 'hidden_sizes'"),
        (lambda content: content.pop("stats") and None, "stats: found none"),
        (lambda content: content.pop("conf") and None, "found no `conf`"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str):
    """The error names the setting or the tensor."""
    model_file, settings_file = _written(tmp_path, _model())
    content = json.loads(settings_file.read_text())
    change(content)
    settings_file.write_text(json.dumps(content))
    with pytest.raises(ForeignModel, match=words) as caught:
        read_sparsechem(model_file, settings_file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("extra", torch.ones(1), "tensors differ.*: extra"),
        ("regmask", torch.zeros(1, 8), "parts of .*trunk"),
        ("net.0.net_freq.bias", torch.full((16,), np.nan), r"net\.0\.net_freq\.bias .*\bfinite\b"),
        ("net.0.net_freq.bias", torch.zeros(16, dtype=torch.float64), r"net\.0\.net_freq\.bias .*\bdense float32\b"),
        ("net.0.net_freq.bias", 3, r"net\.0\.net_freq\.bias .*\bdense float32\b"),
        ("net.0.net_freq.bias", torch.zeros(15), r"trunk\.0\.bias .*\(15,\), .*\(16,\)"),
        ("classLast.net.initial_layer.2.weight", torch.zeros(7, 9), "classification.weight has shape"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path: Path, name: str, tensor: object, words: str):
    """Wrong kinds, shapes and values of tensors, and masks that split the trunk's output."""
    model_file, settings_file = _written(tmp_path, _model())
    content = torch.load(model_file, weights_only=True)
    torch.save(content | {name: tensor}, model_file)
    with pytest.raises(ForeignModel, match=words):
        read_sparsechem(model_file, settings_file)


class _Harm:
    """Code that a malicious pickle would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("__import__('pathlib').Path('harm').touch()",))


def test_code_in_a_model_file_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file that would run code when unpickled is refused, and the code has not run."""
    monkeypatch.chdir(tmp_path)
    model_file, settings_file = _written(tmp_path, _model())
    torch.save({"net.0.net_freq.weight": _Harm()}, model_file)
    with pytest.raises(ForeignModel, match=r"^model\.pt: .*state_dict"):
        read_sparsechem(model_file, settings_file)
    assert not (tmp_path / "harm").exists()


def test_damaged_files_are_refused(tmp_path: Path):
    """Cut or changed anywhere, a model file is refused, or read as tensors when only padding changed."""
    model_file, settings_file = _written(tmp_path, _model())
    whole, rng = model_file.read_bytes(), np.random.default_rng(0)
    damaged = [whole[: len(whole) * i // 20] for i in range(20)] + [b"no model", b"\x80\x02}q\x00."]
    places = rng.integers(0, len(whole), 60)
    damaged += [whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :] for place in places]
    reasons = []
    for content in damaged:
        model_file.write_bytes(content)
        try:
            read_sparsechem(model_file, settings_file)
        except ForeignModel as error:
            reasons.append(str(error))
    assert len(reasons) >= 22
    assert all("model.pt: " in reason and "\n" not in reason for reason in reasons)
    settings_file.write_bytes(b"{")
    with pytest.raises(ForeignModel, match=r"model\.json: .*JSON"):
        read_sparsechem(model_file, settings_file)


def test_constant_tasks_of_sparsechem_stay_finite(tmp_path: Path):
    """For a variance of zero or NaN the deviation is 1, and the mean of an empty task is 0."""
    model_file, settings_file = _written(tmp_path, _model())
    content = json.loads(settings_file.read_text())
    content["stats"] = {"mean": [1, 2, float("nan"), 4], "var": [0, -1e-18, float("nan"), 4]}
    settings_file.write_text(json.dumps(content))
    normalisation = read_sparsechem(model_file, settings_file).state.normalisation
    assert normalisation["mean"].tolist() == [1, 2, 0, 4]
    assert normalisation["deviation"].tolist() == [1, 1, 1, 2]


def test_a_model_fits_together_from_birth():
    """Trunk, layout, settings and heads of different models are refused."""
    model = _model()
    with pytest.raises(TrunkMismatch):
        SparseChemModel(model.layout, model.trunk[1:], model.state, model.trunk_settings, model.training)
    with pytest.raises(TrunkMismatch):
        SparseChemModel(model.layout, model.trunk, model.state, TrunkSettings(hidden=(16,)), model.training)
    other, trunk, settings = small_trunk(16, 9)
    with pytest.raises(StateMismatch):
        SparseChemModel(other, trunk, model.state, settings, model.training)
