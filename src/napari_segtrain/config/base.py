"""The frozen value that every section of an experiment is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import ConfigError
from .validation import describe_errors


class Config(BaseModel):
    """A frozen, strict value; a typo is an error and a change goes through `replace`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        validate_default=True,
        allow_inf_nan=False,
        use_attribute_docstrings=False,
    )

    def replace(self, **changes: Any) -> Self:
        """Return a copy with `changes`, validated as if it had been written that way.

        Parameters
        ----------
        **changes
            Field names (not aliases) and their new values.

        Raises
        ------
        pydantic.ValidationError
            When a name is unknown or a value is not allowed.
        """
        current = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**current, **changes})

    def amended(self, changes: Mapping[str, Any], origin: str) -> Self:
        """Return a copy with changes that a user wrote, with errors in the user's words.

        Parameters
        ----------
        changes
            Field names and their new values.
        origin
            Where the changes come from; it begins every error message.

        Raises
        ------
        ConfigError
            Lists every unknown name, with the nearest valid one, and every value that is not allowed.
        """
        try:
            return self.replace(**changes)
        except ValidationError as error:
            raise ConfigError.listing(describe_errors(error, type(self)), origin) from None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able values under the names that the YAML file uses."""
        return self.model_dump(mode="json", by_alias=True)
