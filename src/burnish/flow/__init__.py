"""Data work in parts: records on disk in pieces, steps over the pieces, in processes or over Ray.

What is made does not depend on how many workers made it, nor on how often they were killed.
"""

from burnish.flow.arrays import Arrays, Column, Rows
from burnish.flow.execute import execute
from burnish.flow.parts import (
    PART_RECORDS,
    PartsFolder,
    Source,
    cut,
    numbers,
    part_name,
    read_part,
    source_of,
)
from burnish.flow.plan import begin, is_finished, work_folder, workplace
from burnish.flow.run import Report, plan, run
from burnish.flow.steps import Part, Removed, Sifted, Step
from burnish.flow.work import Executor, Means, Task, WorkFailed

__all__ = [
    "PART_RECORDS",
    "Arrays",
    "Column",
    "Executor",
    "Means",
    "Part",
    "PartsFolder",
    "Removed",
    "Report",
    "Rows",
    "Sifted",
    "Source",
    "Step",
    "Task",
    "WorkFailed",
    "begin",
    "cut",
    "execute",
    "is_finished",
    "numbers",
    "part_name",
    "plan",
    "read_part",
    "run",
    "source_of",
    "work_folder",
    "workplace",
]
