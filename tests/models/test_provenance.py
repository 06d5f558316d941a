"""What a result says about the software that made it."""

import re
from importlib.metadata import version

from steering_lab.models.provenance import PACKAGES, git_commit, software


def test_software_names_every_package_that_a_result_depends_on() -> None:
    found = software()
    assert {"transformer-lens", "torch"} <= set(PACKAGES) <= set(found)
    assert found["torch"] == version("torch")


def test_a_commit_is_twelve_hex_digits_and_says_when_files_differ_from_it() -> None:
    commit = git_commit()
    assert commit is None or re.fullmatch(r"[0-9a-f]{12}(\+dirty)?", commit)
    assert software().get("commit") == commit
