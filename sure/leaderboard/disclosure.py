"""What a submission says of itself beside its record, and what a board has found out about it: `submission.json`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sure.errors import SureError
from sure.files import write_atomically
from sure.record import untrusted

# Beside the record, in a submission's folder.
SUBMISSION = "submission.json"

SCHEMA_VERSION = 1

# No paragraph: these stand in the cells of a table.
_LONGEST = 500

_MOST = 64 << 10


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Disclosure(_Strict):
    """What nobody can compute, in the submitter's words."""

    name: str = Field(min_length=1, max_length=_LONGEST, description="Of the system, as its authors call it.")
    contact: str = Field(min_length=1, max_length=_LONGEST, description="Who answers for it: an address or a handle.")
    training_data: str = Field(
        min_length=1, max_length=_LONGEST, description="All that the adapter learnt from, and what chose its settings."
    )
    paper: str | None = Field(default=None, max_length=_LONGEST, description="Where it is described.")
    backbone_heard_test: Literal["yes", "no", "unknown"] = Field(
        default="unknown", description="Whether the test corpus was in what the backbone was pretrained on."
    )
    tuning: str | None = Field(
        default=None, max_length=_LONGEST, description="How settings were chosen: by whom, of how many tries, on what."
    )
    run_by: str | None = Field(
        default=None, max_length=_LONGEST, description="Who ran it: the method's authors, or others."
    )


def disclosed(given: Mapping[str, Any]) -> Disclosure:
    """From flags of these names. Raises `SureError` naming each that cannot be so."""
    try:
        disclosure = Disclosure.model_validate({name: given[name] for name in Disclosure.model_fields})
    except ValidationError as error:
        wrong = [f"--{e['loc'][0]}: {e['msg']}." for e in error.errors()]
        raise SureError("\n".join(wrong)) from None
    if faults := [f"--{field}: {what}." for field, what in untrusted.odd_values(disclosure.model_dump())]:
        raise SureError("\n".join(faults))
    return disclosure


def standing(verified: bool) -> str:
    """Whether references and budget were checked, or are what the submitter says."""
    return "verified" if verified else "self-reported"


class Checks(_Strict):
    """What a board has found out; `sure leaderboard validate` finds it out again, and refuses what claims more."""

    schema_version: Literal[1] = SCHEMA_VERSION
    disclosure: Disclosure | None = None
    verified: bool = Field(
        default=False, description="References are those of the task's manifest, and the budget was counted again."
    )
    unchecked: list[str] = Field(default_factory=list, description="What could not be checked, in words.")

    @classmethod
    def of(cls, folder: Path) -> "Checks":
        """Of a submission's folder; of one that has no `submission.json`, that nothing was checked.

        Raises `SureError` naming the file and every wrong field.
        """
        path = folder / SUBMISSION
        if not os.path.lexists(path):
            return cls(unchecked=[f"anything but scores: there is no {SUBMISSION}"])
        content = untrusted.contents(path, _MOST, "description of a submission")
        try:
            values = untrusted.parsed(untrusted.text(path, content))
        except ValueError as error:
            raise SureError(f"{path}: not JSON ({error}).") from None
        faults = [f"{path}: {field}: {what}." for field, what in untrusted.odd_values(values)]
        try:
            if not faults:
                return cls.model_validate(values)
        except ValidationError as error:
            faults = [f"{path}: {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}." for e in error.errors()]
        raise SureError("\n".join(untrusted.first_of(faults, path)))

    def write(self, folder: Path) -> None:
        """Beside the record."""
        write_atomically(folder / SUBMISSION, self.model_dump_json(indent=2) + "\n")
