"""The docstrings of a section's fields, read from its source: the descriptions in the schema of study files.

Pydantic can read them when it makes a class (`use_attribute_docstrings`). Each process of a sweep would pay a quarter
of a second for what the schema alone needs.
"""

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema


class DescribedSchema(GenerateJsonSchema):
    """A schema in which a property without a description has the docstring of its field."""

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        """Return the schema of a class, with descriptions of its properties."""
        described = super().model_schema(schema)
        for name, text in field_docstrings(schema["cls"]).items():
            field = schema["cls"].model_fields.get(name)
            of_field = described["properties"].get(field.alias or name) if field is not None else None
            if of_field is not None:
                of_field.setdefault("description", text)
        return described


def field_docstrings(section: type[Any]) -> dict[str, str]:
    """Return the docstrings of the fields that a class has, its own and those of its bases, by their names.

    Classes whose source is nowhere to be read have none.
    """
    texts: dict[str, str] = {}
    for one in reversed(section.__mro__):
        if issubclass(one, BaseModel):
            texts |= _own_docstrings(one)
    return texts


@cache
def _own_docstrings(section: type[Any]) -> dict[str, str]:
    try:
        (statement,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    except (OSError, TypeError):
        return {}
    texts = {}
    for field, after in pairwise(statement.body) if isinstance(statement, ast.ClassDef) else ():
        match field, after:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                texts[name] = inspect.cleandoc(text)
    return texts
