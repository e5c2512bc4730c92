"""The recipes in `cluster/` as tests read them: manifests with the definitions that they must fit."""

import functools
import os
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from ruamel.yaml import YAML

CLUSTER = Path(__file__).parents[2] / "cluster"
DEFINITIONS = Path(__file__).parents[3] / "shared" / "data" / "kuberay"


def read(path: Path) -> Any:
    """Return what a file of YAML with one document says."""
    return YAML(typ="safe").load(path)


def read_all(path: Path) -> list[Any]:
    """Return the documents of a file of YAML."""
    return list(YAML(typ="safe").load_all(path))


def closed(schema: Any) -> Any:
    """Return the schema with unknown keys forbidden, as the API server reports them with `--validate=strict`."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: closed(value) for key, value in schema.items()}
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not open_ended:
        strict["additionalProperties"] = False
    return strict


@functools.cache
def definition_of(name: str) -> Any:
    """Return one of KubeRay's definitions: a million characters, for which the parser is one in C."""
    return yaml.load((DEFINITIONS / name).read_text(), Loader=yaml.CSafeLoader)


def validate(manifest: Any, definition: str) -> None:
    """Check that a manifest fits a definition of KubeRay's."""
    crd = definition_of(definition)
    assert manifest["kind"] == crd["spec"]["names"]["kind"]
    group, version = manifest["apiVersion"].split("/")
    assert group == crd["spec"]["group"]
    (served,) = [found for found in crd["spec"]["versions"] if found["name"] == version and found["served"]]
    schema = closed(served["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    jsonschema.Draft7Validator(schema).validate(manifest)


def validate_part(part: Any, *path: str) -> None:
    """Check that a part of Kubernetes' own fits its definition, which KubeRay's of a cluster contains.

    Args:
        part: of a manifest.
        path: of the definition, below a cluster's.
    """
    versions = definition_of("ray.io_rayclusters.yaml")["spec"]["versions"]
    (schema,) = [found["schema"]["openAPIV3Schema"] for found in versions if found["name"] == "v1"]
    for key in path:
        schema = schema["items"] if key == "items" else schema["properties"][key]
    strict = closed(schema)
    if "metadata" in strict["properties"]:
        strict["properties"]["metadata"] = {"type": "object"}
    jsonschema.Draft7Validator(strict).validate(part)


def variables(template: Any) -> dict[str, Any]:
    """Return the environment of a pod's one container."""
    (container,) = template["spec"]["containers"]
    return {item["name"]: item.get("value") for item in container["env"]}


def on_path(folder: Path, **scripts: str) -> dict[str, str]:
    """Return an environment in which these programs stand for the real ones."""
    for name, text in scripts.items():
        program = folder / name.replace("_", "-")
        program.write_text(text)
        program.chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
