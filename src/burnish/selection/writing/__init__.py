"""Instructions written by a model: how it is asked, and what is accepted of its replies."""

from burnish.selection.writing.methods import METHODS, Method, passages
from burnish.selection.writing.write import Report, WriteSettings, write

__all__ = ["METHODS", "Method", "Report", "WriteSettings", "passages", "write"]
