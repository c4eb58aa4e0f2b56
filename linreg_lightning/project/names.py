"""What a new project is called, wherever it is named."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.util import find_spec
from typing import NamedTuple

from linreg_lightning.errors import InputError

LONGEST = 40
"""Letters of a name; so that imports and help stay readable."""

FOLDERS = {"build", "configs", "dist", "logs", "tests"}
"""Names that a project's other folders have."""


class Names(NamedTuple):
    """One name in its three spellings.

    Attributes:
        package: as Python imports it.
        distribution: as pip installs it.
        command: as a terminal runs it.
    """

    package: str
    distribution: str
    command: str

    @classmethod
    def of(cls, given: str) -> Names:
        """The spellings of a name: lower-case words joined by `_` or `-`.

        Raises:
            InputError: it is no such name, or one that Python, an installed package or another
                folder of the project has.

        >>> Names.of("my-project")
        Names(package='my_project', distribution='my-project', command='my-project')
        """
        if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", given):
            words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", given).lower()
            like = "_".join(re.findall(r"[a-z0-9]+", words)).lstrip("0123456789_")
            raise InputError(
                f"name: {given!r} was given; type lower-case letters of English, digits and _ "
                f"between them, as in {like or 'my_project'}; the project is made where you are"
            )
        if len(given) > LONGEST:
            raise InputError(f"name: {given} has {len(given)} letters; type at most {LONGEST}")
        package, command = given.replace("-", "_"), given.replace("_", "-")
        if keyword.iskeyword(package) or package in sys.builtin_module_names:
            raise InputError(f"name: {given} is a word of Python itself; type another")
        if package in FOLDERS or package.startswith("test_"):
            raise InputError(f"name: {given} is what a folder or a test is called; type another")
        found = find_spec(package)
        if found is not None and found.origin is not None:  # not just some folder of that name
            raise InputError(
                f"name: a package {package} is installed already, and one of the two could not be "
                "imported; type another"
            )
        return cls(package, command, command)

    def put_into(self, text: str) -> str:
        """A text of this package's, with its names replaced by these.

        >>> Names.of("my_project").put_into("linreg fit --model linreg_lightning.models.MLP")
        'my-project fit --model my_project.models.MLP'
        """
        text = text.replace("linreg_lightning", self.package)
        text = text.replace("linreg-lightning", self.distribution)
        return text.replace("linreg", self.command)
