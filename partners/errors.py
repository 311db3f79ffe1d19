"""Errors in a partner's data, training or checkpoint."""


class TrainingError(Exception):
    """Base of all errors of this folder."""


class BadData(TrainingError):
    """Base of the errors in the data, found before any training."""


class BadLengths(BadData):
    """Matrices and arrays that describe the same compounds or tasks differ in length."""


class BadFeatures(BadData):
    """The input matrix holds a value that is not finite."""


class FeatureCountMismatch(BadData):
    """The input matrix has another number of features than the trunk."""


class BadLabels(BadData):
    """A label is neither +1 nor -1."""


class BadValues(BadData):
    """A measured value for regression is not finite or is there twice."""


class BadCensoring(BadData):
    """The censoring marks do not match the measured values, or are none of -1, 0 and +1."""


class BadWeights(BadData):
    """A task's weight is out of range or not finite, or a table of weights does not match the tasks."""


class BadFolds(BadData):
    """Validation and test fold are the same, or nothing is left to train on."""


class TrunkMismatch(TrainingError):
    """A trunk vector does not fit the layout, or holds values that are not finite."""


class StateMismatch(TrainingError):
    """A partner's or server's state does not fit the trunk, the tasks or the settings."""


class TrainingDiverged(TrainingError):
    """The loss or a weight is no longer a finite number."""


class CheckpointDamaged(TrainingError):
    """A checkpoint file cannot be read, or its content has changed since it was written."""


class CheckpointMismatch(TrainingError):
    """An undamaged checkpoint file of another trunk, other tasks, other data or other settings."""


class BadPredictions(TrainingError):
    """A prediction to be scored is not a number."""


class BadMeasurements(TrainingError):
    """A measured value to be scored is not a number, or its bound is none of <, = and >."""


class BadPrevalence(TrainingError):
    """The reference prevalence of calibrated precision is not a share between 0 and 1."""


class BadMatrixFile(BadData):
    """A SparseChem data file cannot be read as the matrix, folding or table that it should be."""


class ForeignModel(TrainingError):
    """A model cannot be converted between SparseChem and hocket without change."""


class DeviceMissing(TrainingError):
    """The settings ask for a device or a precision that this machine does not have."""
