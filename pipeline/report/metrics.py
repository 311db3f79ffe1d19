"""What a report is made of: its format and kind, its metrics, how they are called and which way is better."""

FORMAT = 3  # of report.json and of what may be shared of it
SUMMARY_KIND = "hocket shareable summary"

METRICS = ("average_precision", "roc_auc")
REGRESSION_METRICS = ("r2", "spearman", "rmse", "censored_rmse")
CURVES = ("average_precision", "roc_auc", "loss")  # by round on the validation fold
REGRESSION_CURVES = ("r2", "spearman", "rmse")
ERRORS = {"rmse", "censored_rmse", "loss"}  # less is better
SIDES = ("local", "federated")
SHORT = {
    "average_precision": "AP",
    "roc_auc": "AUC-ROC",
    "r2": "R2",
    "spearman": "Spearman",
    "rmse": "RMSE",
    "censored_rmse": "cRMSE",
}
LONG = {
    "average_precision": "average precision",
    "roc_auc": "area under the ROC curve",
    "r2": "R²",
    "spearman": "Spearman correlation",
    "rmse": "root mean squared error, units of the assay",
    "censored_rmse": "root mean squared error with bounds, units of the assay",
    "loss": "loss",
}
FEWEST_ASSAYS = 5  # an interval over fewer says nothing, and could end at one assay's score
