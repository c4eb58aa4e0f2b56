"""The names of a new project."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.util import find_spec
from typing import NamedTuple

from linreg_lightning.errors import InputError

MAX_LENGTH = 40
FOLDERS = {"build", "configs", "dist", "logs", "tests"}


class Names(NamedTuple):
    """The spellings that Python imports, that pip installs, and that a terminal runs."""

    package: str
    distribution: str
    command: str

    @classmethod
    def of(cls, given: str) -> Names:
        """Return the spellings of a name: lower-case words joined by `_` or `-`.

        InputError refuses other forms, and names of Python, of installed packages and of the
        project's other folders.

        >>> Names.of("my-project")
        Names(package='my_project', distribution='my-project', command='my-project')
        """
        if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", given):
            words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", given).lower()
            proposal = "_".join(re.findall(r"[a-z0-9]+", words)).lstrip("0123456789_")
            raise InputError(
                f"name: {given!r} was given; type lower-case English letters, digits and _ between "
                f"them, as in {proposal or 'my_project'}; the present folder gets the project"
            )
        if len(given) > MAX_LENGTH:
            raise InputError(f"name: {given} has {len(given)} letters; type at most {MAX_LENGTH}")
        package, command = given.replace("-", "_"), given.replace("_", "-")
        if keyword.iskeyword(package) or package in sys.builtin_module_names:
            raise InputError(f"name: {given} is a word of Python itself; type another")
        if package in FOLDERS or package.startswith("test_"):
            raise InputError(f"name: {given} is what a folder or a test is called; type another")
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:  # a folder without modules has no origin
            raise InputError(
                f"name: a package {package} is installed already, and Python can import only one "
                "of the two; type another"
            )
        return cls(package, command, command)

    def put_into(self, text: str) -> str:
        """Replace this package's names in a text by these.

        >>> Names.of("my_project").put_into("linreg fit --model linreg_lightning.models.MLP")
        'my-project fit --model my_project.models.MLP'
        """
        text = text.replace("linreg_lightning", self.package)
        text = text.replace("linreg-lightning", self.distribution)
        return text.replace("linreg", self.command)
