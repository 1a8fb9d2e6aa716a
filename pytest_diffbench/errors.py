"""What can go wrong, told so that a person can put it right.

Every error names the file or option, the field, the value that was found, and the remedy.
"""


class DiffbenchError(Exception):
    """Base of every error that this plugin raises on purpose."""


class OptionError(DiffbenchError):
    """A command-line option, ini value or marker argument that can't be used."""


class PipelineError(DiffbenchError):
    """A pipeline that can't be found, loaded or run."""


class MissingPipelineError(PipelineError):
    """A pipeline that isn't there, can't be had without leave, or can't be called by a ready-made benchmark.

    Nothing is broken.
    """


class MeasureError(DiffbenchError):
    """A measurement that can't be taken truthfully."""


class BaselineError(DiffbenchError):
    """A stored baseline that can't be read, trusted or written.

    Args:
        path: the file or folder in question.
        problem: what is wrong with it, with field and value.
        remedy: what the reader can do about it.
    """

    def __init__(self, path: object, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}. {remedy}")
        self.path = path
        self.problem = problem
        self.remedy = remedy
