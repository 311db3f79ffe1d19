"""Everything that can be wrong with a partner's data, training or checkpoint."""


class TrainingError(Exception):
    """Base of all errors of this folder."""


class BadLengths(TrainingError):
    """Matrices and arrays that describe the same compounds or tasks differ in length."""


class BadFeatures(TrainingError):
    """The input matrix holds a value that is not finite."""


class FeatureCountMismatch(TrainingError):
    """The input matrix has another number of features than the trunk."""


class BadLabels(TrainingError):
    """A label is neither +1 nor -1."""


class BadWeights(TrainingError):
    """A task's training weight is negative or not finite."""


class BadFolds(TrainingError):
    """Validation and test fold are the same, or nothing is left to train on."""


class TrunkMismatch(TrainingError):
    """A trunk vector does not fit the layout, or holds values that are not finite."""


class StateMismatch(TrainingError):
    """A partner's or server's state does not fit the trunk, the tasks or the settings."""


class TrainingDiverged(TrainingError):
    """The loss or a weight stopped being a finite number."""


class CheckpointDamaged(TrainingError):
    """A checkpoint file cannot be read, or its content is not what was written."""


class CheckpointMismatch(TrainingError):
    """A sound checkpoint file, but of another trunk, other tasks, other data or other settings."""


class BadPredictions(TrainingError):
    """A prediction that is to be scored is not a number."""


class DeviceMissing(TrainingError):
    """The settings ask for a device or a precision that this machine does not have."""
