"""Canaries: each names what is private to Ray, Tune or Optuna, and its version, where that has moved or changed."""

import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import optuna
import pytest
import ray
from optuna.distributions import FloatDistribution

import kd_sweep
from kd_sweep.driver.ray import private, ray_settings
from kd_sweep.driver.tune.sampler_request import SamplerRequest
from kd_sweep.study.sampler import Sampler

RAY = Path(ray.__file__).parent
BINARIES = ("_raylet.so", "core/src/ray/raylet/raylet", "core/src/ray/gcs/gcs_server")
RAYLET_OPTIONS = ("metrics_agent_port", "metrics_export_port", "runtime_env_agent_port", "dashboard_agent_listen_port")
SOCKETS = ("raylet_socket_name", "plasma_store_socket_name")
OWN = ("temp_dir", "node_ip_address", "no_monitor", "include_log_monitor", "setup_worker_path")
NODE_OPTIONS = (*OWN, *SOCKETS, *RAYLET_OPTIONS)

ANY = "*"
"""Instead of names of parameters: whichever it takes."""

CALLED: dict[str, tuple[str, ...] | str] = {
    # Called by us, with the parameters that we give them.
    "ray._private.services:get_node": ("gcs_address", "node_id"),
    "ray._private.services:canonicalize_bootstrap_address": ("addr",),
    "ray._private.services:start_ray_process": ("command", "process_type"),
    "ray._private.services:resolve_ip_for_localhost": ("host",),
    "ray._private.node:Node.get_logs_dir_path": ("self",),
    "ray._private.node:Node.kill_all_processes": ("self", "check_alive"),
    "ray._private.parameter:RayParams.update": ("self", "kwargs"),
    "ray._private.parameter:RayParams.__init__": ("self", *NODE_OPTIONS),
    "ray._raylet:Config.initialize": ("config_list",),
    "ray._raylet:AuthenticationTokenLoader.instance": (),
    "ray._raylet:AuthenticationTokenLoader.reset_cache": ANY,
    "ray._raylet:GcsClient": ANY,
    # Replaced by us, with the parameters that Ray gives ours.
    "ray._raylet:wait_for_persisted_port": ("dir", "node_id", "port_name", "timeout_ms"),
    "ray._private.node:wait_for_persisted_port": ("timeout_ms",),
    "ray._private.node:Node.__init__": ("self", "ray_params"),
    "ray._private.node:Node.start_api_server": ("self", "include_dashboard", "raise_on_failure"),
    "ray._private.node:Node.start_raylet": ("self", "plasma_directory", "fallback_directory", "object_store_memory"),
    "ray._private.utils:get_dashboard_dependency_error": (),
    "ray._private.utils:set_sigterm_handler": ("sigterm_handler",),
    "ray._private.worker:print_to_stdstream": ("data", "ignore_prefix"),
    "ray.tune.execution.class_cache:_ActorClassCache.get": ("self", "trainable_cls"),
    "ray.tune.execution.tune_controller:TuneController._maybe_reuse_cached_actor": ("self", "trial"),
    "ray.air._internal.usage:tag_callbacks": ("callbacks",),
    "ray.air.execution._internal.actor_manager:RayActorManager._actor_task_failed": (
        "self",
        "tracked_actor_task",
        "exception",
    ),
}
"""By ``module:name``, the parameters that a private function must have."""

WRITTEN = {
    "ray._private.worker:_global_node": "_global_node = ray._private.node.Node(",
    "ray._private.worker:print_to_stdstream": "partial(print_to_stdstream, ignore_prefix=ignore_prefix)",
    "ray._private.worker:init(_temp_dir)": 'kwargs.pop("_temp_dir"',
    "ray._private.worker:init(_skip_env_hook)": 'kwargs.pop("_skip_env_hook"',
    "ray._private.worker:init(_node_ip_address)": "services.resolve_ip_for_localhost(_node_ip_address)",
    "ray._private.services:canonicalize_bootstrap_address": "bootstrap_host = resolve_ip_for_localhost(host)",
    "ray._private.worker:print_to_stdstream(lines)": 'data.get("lines", [])',
    "ray._private.worker:init(SIGTERM)": "ray._private.utils.set_sigterm_handler(sigterm_handler)",
    "ray._private.node:Node.all_processes": "self.all_processes[ray_constants.PROCESS_TYPE_RAYLET] = [process_info]",
    "ray._private.node:Node._node_id": "self._node_id",
    "ray._private.node:Node.gcs_address": "def gcs_address(self)",
    "ray._private.node:wait_for_persisted_port": "= wait_for_persisted_port(",
    "ray._private.services:start_raylet": "process_info = start_ray_process(",
    "ray._private.services:start_raylet(dashboard)": '"--dashboard_agent_command=',
    "ray._private.services:start_raylet(runtime_env)": '"--runtime_env_agent_command=',
    "ray._private.services:get_dashboard_dependency_error": "if ray._private.utils.get_dashboard_dependency_error() is",
    "ray.tune.execution.class_cache:_ActorClassCache._cache": "self._cache[trainable_cls]",
    "ray.tune.execution.tune_controller:_trial_to_actor": "original_actor = self._trial_to_actor.pop(trial)",
    "ray.tune.execution.tune_controller:_resetting_trials": "if trial in self._resetting_trials:",
    "ray.air.execution._internal.actor_manager:live_actors": "return list(self._live_actors_to_ray_actors_resources)",
    "ray.tune.tune:tag_callbacks": "air_usage.tag_callbacks(callbacks)",
    "ray.air.execution._internal.actor_manager:RayActorManager": "isinstance(exception, RayActorError)",
}
"""By what it is about, the line of a module's source without which a replacement has no effect."""


def moved(name: str, how: str) -> str:
    return f"{name} of Ray {ray.__version__} {how}; see kd_sweep/driver/ray/private.py"


def check_call(name: str, expected: tuple[str, ...] | str) -> None:
    """Fail where the private function is gone or has no such parameters."""
    module, _, path = name.partition(":")
    try:
        function: Any = import_module(module)
        for part in path.split("."):
            function = getattr(function, part)
        parameters = [] if expected == ANY else list(inspect.signature(function).parameters)
    except (ImportError, AttributeError) as error:
        pytest.fail(moved(name, f"is gone ({error})"))
    missing = [parameter for parameter in expected if expected != ANY and parameter not in parameters]
    if missing:
        pytest.fail(moved(name, f"takes {', '.join(parameters)}, and no {', '.join(missing)}"))


def check_source(name: str, line: str) -> None:
    """Fail where the module's source no longer has this."""
    if line not in inspect.getsource(import_module(name.partition(":")[0])):
        pytest.fail(moved(name, f"is no longer used as {line!r}"))


@pytest.mark.parametrize("name", CALLED)
def test_private_functions_take_what_they_are_given(name: str) -> None:
    check_call(name, CALLED[name])


@pytest.mark.parametrize("name", WRITTEN)
def test_ray_still_uses_what_is_replaced(name: str) -> None:
    check_source(name, WRITTEN[name])


@pytest.mark.parametrize(
    ("check", "name", "expected"),
    [
        (check_call, "ray._private.services:get_nodes", ()),
        (check_call, "ray._private.no_such_module:get", ()),
        (check_call, "ray._private.services:get_node", ("gcs_address", "colour")),
        (check_source, "ray._private.worker:_global_node", "_global_node = OtherNode("),
    ],
)
def test_a_canary_names_what_has_moved_and_the_version(check: Callable[..., None], name: str, expected: Any) -> None:
    with pytest.raises(pytest.fail.Exception, match=re.escape(name)) as failure:
        check(name, expected)
    assert f"Ray {ray.__version__}" in str(failure.value)


def test_daemons_have_rays_names() -> None:
    from ray._private import ray_constants

    known = (ray_constants.PROCESS_TYPE_RAYLET, ray_constants.PROCESS_TYPE_GCS_SERVER)
    assert known == private.DAEMONS, moved("PROCESS_TYPE_…", f"are {known}")


def test_the_raylet_knows_its_options() -> None:
    raylet = (RAY / BINARIES[1]).read_bytes()
    for option in (*RAYLET_OPTIONS, "dashboard_agent_command", "runtime_env_agent_command"):
        assert option.encode() in raylet, moved(f"raylet --{option}", "is gone")


def sources() -> Iterator[str]:
    for folder in ("_private", "_common", "tune", "air", "dashboard/modules/job"):
        yield from (file.read_text() for file in (RAY / folder).rglob("*.py"))


def read_settings(names: set[str]) -> set[str]:
    """Return which of these names stand in Ray's source, or without ``RAY_`` in its binaries, as C++ names them."""
    text = "\n".join(sources())
    core = b"".join((RAY / name).read_bytes() for name in BINARIES)
    compiled = {name for name in names if name.startswith("RAY_") and b"\0%b\0" % name[4:].encode() in core}
    return compiled | {name for name in names if f'"{name}"' in text or f'"{name[4:]}"' in text}


def test_ray_reads_every_setting() -> None:
    """A name that Ray does not know would do nothing."""
    given = {**ray_settings.QUIET, **ray_settings.PATIENT, **ray_settings.own_token("secret")}
    wanted = {*given, ray_settings.MAX_PENDING_TRIALS, ray_settings.IN_A_JOB, ray_settings.JOB_STOP_WAIT_S}
    unread = sorted(wanted - read_settings(wanted))
    assert unread == [], moved(", ".join(unread), "is read no more")
    assert read_settings({"RAY_AUTH_MODES", "TUNE_NO_SUCH_SETTING", "RAY_no_such_setting"}) == set()


def test_settings_are_read_again_and_a_greeting_of_nobody_fails() -> None:
    """The two that are compiled: called in a process of their own, since Ray ends one that cannot connect."""
    program = "from kd_sweep.driver.ray.private import greet, read_settings_again\nread_settings_again()\n"
    program += "print('read', flush=True)\ngreet('127.0.0.1:9')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={"RAY_py_gcs_connect_timeout_s": "1", "PYTHONPATH": str(Path(kd_sweep.__file__).parents[1])},
        timeout=60,
        check=False,
    )
    assert done.stdout == "read\n", done.stderr
    assert done.returncode != 0
    assert "AttributeError" not in done.stderr, moved("ray._raylet", done.stderr)


@pytest.mark.parametrize("name", ["nsga2", "nsga3"])
def test_optuna_keeps_a_generation_where_it_is_read_and_written(name: str) -> None:
    """Optuna's own key, of a trial that its sampler has made; and one that is given is believed."""
    sampler = Sampler(name=name, population_size=2)
    key = sampler.entry.traits.generation_key
    study = optuna.create_study(sampler=sampler.entry.item(sampler, SamplerRequest(0, 0, {}, frozenset())))
    for _ in range(5):
        study.tell(study.ask({"x": FloatDistribution(0, 1)}), 0.0)
    kept = [trial.system_attrs.get(key) for trial in study.trials]
    assert kept == [0, 0, 1, 1, 2], f"{key} of Optuna {optuna.__version__}: trials have {study.trials[0].system_attrs}"
    given = optuna.trial.create_trial(
        value=0.0, params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)}, system_attrs={key: 7}
    )
    study.add_trial(given)
    assert study.sampler.get_trial_generation(study, study.trials[-1]) == 7  # type: ignore[attr-defined]
