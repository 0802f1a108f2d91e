"""The training doctor: rules that look at an experiment before it begins, and at a training while it runs.

A rule is a function from a frozen value to findings; it reads no file and computes next to nothing. To add
one, write it, and put it into the table at the end of its file.
"""

from .before import RULES, Amount, Case, amounts_of, case_of, examine, memory_estimate
from .running import RUNNING_RULES, Course, examine_course, not_a_number

__all__ = [
    "RULES",
    "RUNNING_RULES",
    "Amount",
    "Case",
    "Course",
    "amounts_of",
    "case_of",
    "examine",
    "examine_course",
    "memory_estimate",
    "not_a_number",
]
