"""The error tree and its exit codes."""

from __future__ import annotations

import inspect
import re

import clin_edge.core.errors as errors
from clin_edge.core.errors import ClinEdgeError, MissingInstallError

CODES = {
    "ClinEdgeError": 1,
    "CoverageError": 1,
    "ExternalHostError": 2,
    "InputError": 3,
    "BundleError": 4,
    "MissingInstallError": 5,
    "TeacherError": 6,
    "GateError": 7,
}


def test_each_error_has_the_exit_code_that_scripts_rely_on() -> None:
    found = {
        name: kind.exit_code
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, ClinEdgeError)
    }
    assert found == CODES


def test_the_tree_drawn_at_the_top_is_the_tree() -> None:
    drawn = re.findall(r"^[ │├└─]*(\w+Error) +(\d)  ", errors.__doc__ or "", re.MULTILINE)
    assert {name: int(code) for name, code in drawn} == CODES


def test_a_missing_install_is_told_as_the_line_that_cures_it() -> None:
    message = str(MissingInstallError("train", "torch"))
    assert message == "torch is not installed; run: pip install 'clin-edge[train]'"
