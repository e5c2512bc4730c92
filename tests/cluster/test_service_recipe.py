"""The recipes in `cluster/service/`: well-formed, with options that exist, and paths and names that fit together."""

import configparser
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer

from kd_sweep.cli import app
from kd_sweep.service.http.guards import PROBES
from tests.cluster.hosts import eventually, free_port
from tests.cluster.recipes import CLUSTER, DEFINITIONS, on_path, read, read_all, validate_part, variables
from tests.project.pages import blocks
from tests.service.running_service import running

SERVICE = CLUSTER / "service"
UNIT = SERVICE / "kd-sweep-serve.service"
README = SERVICE / "README.md"
COPIED = "/home/ray/kd_sweep"
"""Where the image has the checkout."""


def parsed(words: list[str]) -> dict[str, Any]:
    """Return what `kd-sweep` understands of its arguments. Nothing is run."""
    name, *arguments = words
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    found: dict[str, Any] = command.make_context(name, arguments).params
    return found


def unit_of(text: str) -> dict[str, dict[str, str]]:
    """Return a unit's sections; of a key that comes twice, the last value."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def service_of(text: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the section `Service` of a unit, and what its command understands of its options."""
    section = unit_of(text)["Service"]
    program, *words = shlex.split(section["ExecStart"].replace("%S", "/var/lib"))
    assert program == "/opt/kd_sweep/.venv/bin/kd-sweep"
    return section, parsed(words)


def deployed(kind: str) -> Any:
    (found,) = [part for part in read_all(SERVICE / "deployment.yaml") if part["kind"] == kind]
    return found


def pod() -> Any:
    return deployed("Deployment")["spec"]["template"]


def container() -> Any:
    (found,) = pod()["spec"]["containers"]
    return found


def test_under_systemd_a_restart_ends_the_service_alone() -> None:
    section, options = service_of(UNIT.read_text())
    kept = {"KillMode": "process", "Restart": "always", "OOMPolicy": "continue", "PrivateTmp": "no"}
    assert kept.items() <= section.items()
    assert section["User"] in README.read_text()
    assert options["root"] == f"/var/lib/{section['StateDirectory']}/results"
    assert str(options["state"]) == f"/var/lib/{section['StateDirectory']}/state"
    assert not {"StandardOutput", "StandardError"} & set(section), "the log is the journal's"
    dropped, signed_in = blocks(README, "ini")
    assert service_of(dropped)[1]["address"] == "HEAD:6379"
    options |= {"names": ["sweeps.example.org"], "sign_in": Path("/etc/kd-sweep/sign-in.yaml")}
    assert service_of(signed_in)[1] == options
    assert "server_name sweeps.example.org;" in (SERVICE / "nginx.conf").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize(
    ("slip", "complaint"), [(("", ""), ""), (("KillMode=process", "KillMode=proces"), "kill mode")]
)
def test_systemd_takes_the_unit(tmp_path: Path, slip: tuple[str, str], complaint: str) -> None:
    program = service_of(UNIT.read_text())[0]["ExecStart"].split()[0]
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(program, sys.executable).replace(*slip))
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    said = [line for line in (verified.stdout + verified.stderr).splitlines() if UNIT.name in line]
    assert [line for line in said if not complaint or complaint not in line] == []
    assert bool(said) == bool(complaint)


def test_the_commands_for_systemd_name_what_the_unit_names() -> None:
    text = "\n".join(blocks(README, "bash"))
    section, options = service_of(UNIT.read_text())
    commands = re.findall(rf"sudo -u {section['User']} \./kd-sweep (token .*)", text)
    assert [parsed(shlex.split(command))["action"] for command in commands] == ["create", "revoke"]
    for command in commands:
        given = parsed(shlex.split(command))
        assert (given["root"], given["state"]) == (options["root"], options["state"])


class TestCompose:
    @property
    def service(self) -> Any:
        return read(SERVICE / "compose.yaml")["services"]["serve"]

    def test_root_and_state_are_in_volumes_that_the_user_of_the_image_owns(self) -> None:
        program, *words = self.service["command"]
        options = parsed(words)
        assert program == "kd-sweep"
        mounts = dict(reversed(volume.split(":")) for volume in self.service["volumes"])
        assert set(mounts.values()) == set(read(SERVICE / "compose.yaml")["volumes"])
        dockerfile = SERVICE / self.service["build"]["context"] / self.service["build"]["dockerfile"]
        assert dockerfile.resolve() == CLUSTER / "kubernetes" / "Dockerfile"
        (made,) = re.findall(r"^RUN mkdir (.*)$", dockerfile.read_text(), re.MULTILINE)
        assert set(made.split()) == set(mounts)
        assert options["root"] in mounts
        assert any(folder in map(str, options["state"].parents) for folder in mounts)
        tokens = re.findall(r"(token \w+ /home/ray.*)", "\n".join(blocks(README, "bash")))
        assert [parsed(shlex.split(line))["state"] for line in tokens] == [options["state"]] * 2

    def test_it_listens_for_this_machine_alone(self) -> None:
        options = parsed(self.service["command"][1:])
        assert options["host"] == "0.0.0.0"
        assert self.service["ports"] == [f"127.0.0.1:{options['port']}:{options['port']}"]

    def test_its_health_is_that_of_readyz(self, tmp_path: Path) -> None:
        kind, program, *words = self.service["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "python")

        def is_healthy(host: str) -> bool:
            asked = [word.replace("127.0.0.1:8400", host) for word in words]
            assert asked != words
            return subprocess.run([sys.executable, *asked], capture_output=True, check=False).returncode == 0

        problems: list[str] = []
        with running(tmp_path, tmp_path, is_working=lambda: next(iter(problems), None)) as service:
            assert is_healthy(service.host)
            problems.append("the supervisor of studies has ended")
            assert not is_healthy(service.host)
        assert not is_healthy(f"127.0.0.1:{free_port()}")


@pytest.mark.skipif(not DEFINITIONS.is_dir(), reason=f"no KubeRay definitions in {DEFINITIONS}")
class TestDefinitions:
    HEAD = ("spec", "headGroupSpec")
    CLAIM = (*HEAD, "template", "spec", "volumes", "items", "ephemeral", "volumeClaimTemplate", "spec")

    def test_pod_service_and_claim_fit(self) -> None:
        validate_part(pod(), *self.HEAD, "template")
        validate_part(deployed("Service"), *self.HEAD, "headService")
        validate_part(deployed("PersistentVolumeClaim")["spec"], *self.CLAIM)

    @pytest.mark.parametrize("key", ["livenesProbe", "readyProbe"])
    def test_a_slip_in_it_is_found(self, key: str) -> None:
        template = pod()
        template["spec"]["containers"][0][key] = {}
        with pytest.raises(jsonschema.ValidationError):
            validate_part(template, *self.HEAD, "template")


class TestDeployment:
    def test_there_is_one_and_the_next_one_waits_for_its_end(self) -> None:
        spec = deployed("Deployment")["spec"]
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
        labels = spec["template"]["metadata"]["labels"]
        assert labels == spec["selector"]["matchLabels"] == deployed("Service")["spec"]["selector"]

    def test_it_belongs_to_the_cluster_of_the_other_recipe(self) -> None:
        cluster = read(CLUSTER / "kubernetes" / "raycluster.yaml")
        head = cluster["spec"]["headGroupSpec"]["template"]
        (of_head,) = head["spec"]["containers"]
        port = next(port["containerPort"] for port in of_head["ports"] if port["name"] == "gcs-server")
        assert container()["args"][0] == f"{cluster['metadata']['name']}-head-svc:{port}"
        assert container()["env"] == of_head["env"]
        assert "RAY_AUTH_MODE" in variables(pod())
        assert (container()["image"], pod()["spec"]["nodeSelector"]) == (of_head["image"], head["spec"]["nodeSelector"])

    def test_root_and_state_are_in_claims(self) -> None:
        options = parsed(["serve", *container()["args"][1:]])
        mounts = {mount["mountPath"]: mount["name"] for mount in container()["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod()["spec"]["volumes"]}
        assert set(mounts.values()) == set(volumes)
        claims = {
            path: volumes[name].get("persistentVolumeClaim", {}).get("claimName") for path, name in mounts.items()
        }
        shared = read(CLUSTER / "kubernetes" / "storage.yaml")["metadata"]["name"]
        own = deployed("PersistentVolumeClaim")["metadata"]["name"]
        assert (claims[options["root"]], claims[str(options["state"].parent)]) == (shared, own)
        tokens = re.findall(r"(token \w+ /results.*)", "\n".join(blocks(README, "bash")))
        assert [parsed(shlex.split(line))["state"] for line in tokens] == [options["state"]] * 2

    def test_probes_and_pods_reach_it(self) -> None:
        options = parsed(["serve", *container()["args"][1:]])
        (port,) = container()["ports"]
        assert (options["host"], options["port"]) == ("0.0.0.0", port["containerPort"])
        paths = {name: container()[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
        assert {name: get["path"] for name, get in paths.items()} == {
            "startup": "/healthz",
            "liveness": "/healthz",
            "readiness": "/readyz",
        }
        assert {get["path"] for get in paths.values()} == PROBES
        (served,) = deployed("Service")["spec"]["ports"]
        assert {get["port"] for get in paths.values()} == {served["targetPort"]} == {port["name"]}
        assert options["names"] == [deployed("Service")["metadata"]["name"]]

    def test_it_runs_the_script(self) -> None:
        (program,) = container()["command"]
        assert (CLUSTER.parent / Path(program).relative_to(COPIED)) == SERVICE / "serve_in_pod.sh"
        assert f"COPY --chown=ray:users . {COPIED}\n" in (CLUSTER / "kubernetes" / "Dockerfile").read_text()


NODE = """#!/usr/bin/env bash
trap 'echo node ended >> {folder}/log; exit 0' TERM
echo "ray $*" >> {folder}/log
while :; do sleep 0.05; done
"""
SERVED = """#!/usr/bin/env bash
trap 'sleep 0.3; echo service ended >> {folder}/log; exit {code}' TERM
echo "kd-sweep $*" >> {folder}/log
while [ ! -e {folder}/end ]; do sleep 0.05; done
exit {code}
"""


class TestPod:
    def started(self, folder: Path, code: int) -> "subprocess.Popen[bytes]":
        scripts = {"ray": NODE.format(folder=folder), "kd_sweep": SERVED.format(folder=folder, code=code)}
        environment = on_path(folder, **scripts)
        command = [SERVICE / "serve_in_pod.sh", "head:6379", "/a root", "--state=/state/service"]
        process = subprocess.Popen(command, env=environment)
        eventually(lambda: len(self.log(folder)) == 2, 10, "node and service have begun")
        return process

    def log(self, folder: Path) -> list[str]:
        path = folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    @pytest.mark.parametrize("code", [0, 1])
    def test_told_to_end_it_ends_the_service_and_then_the_node(self, tmp_path: Path, code: int) -> None:
        process = self.started(tmp_path, code)
        node, served = sorted(self.log(tmp_path), reverse=True)
        assert node.startswith("ray start --address=head:6379 --block --num-cpus=0 --num-gpus=0 ")
        assert served == "kd-sweep serve /a root --state=/state/service --address head:6379"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == code
        assert self.log(tmp_path)[2:] == ["service ended", "node ended"]

    def test_it_ends_with_its_service(self, tmp_path: Path) -> None:
        process = self.started(tmp_path, 2)
        (tmp_path / "end").touch()
        assert process.wait(timeout=20) == 2
        assert self.log(tmp_path)[2:] == ["node ended"]
