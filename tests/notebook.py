"""What a data scientist does with a finished federation, as the cells of a notebook.

In the folder of a finished demo (`hocket demo`): python tests/notebook.py demo
"""

# %%
import sys
from pathlib import Path

import numpy as np
import polars as pl

import hocket

folder = Path(sys.argv[1])

# %% the federation
plan = hocket.read_plan(folder / "plan.toml")
status = hocket.read_status(plan, folder / "exchange")
trail = hocket.verify(plan, folder / "exchange")
print(f"{plan.federation.name}: finished {status.is_finished}, {trail.n_recomputed} sums of {trail.n_rounds} rounds")

# %% what it brought to a partner
report = hocket.read_report(folder / "P01/partner.toml")
print(report.verdict.sentence)
scores = pl.DataFrame(report.to_json()["tasks"]).select(
    "input_assay_id",
    "threshold",
    local=pl.col("local").struct.field("average_precision"),
    federated=pl.col("federated").struct.field("average_precision"),
)

# %% predictions, a row for each structure
model = hocket.open_model(folder / "P01/partner.toml")
smiles = ["CC(=O)Oc1ccccc1C(=O)O", "C1CC", None, "CCO"]
table = model.predict(smiles)
print(table.select("smiles", "reason", "similarity"))

# %% one assay, a row for each structure and task, in pandas
assay = model.description.tasks[0].input_assay_id
frame = model.predict(smiles, [assay], table_format="long").to_pandas()

# %% a model of one's own on the trunk's hidden layer
hidden = model.embed(pl.Series(smiles))
nearest = np.linalg.norm(hidden[0] - hidden[3])
print(f"{hidden.shape[1]} units, distance {nearest:.3f}")
