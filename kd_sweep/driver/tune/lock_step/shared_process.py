"""The process that trials of one GPU, or of one node, share to train their students: an actor that the driver owns.

It holds no resources: the processes of the trials do, and forward each step to it. So Ray alone decides which trials
are together on a GPU.
"""

import asyncio
import math
import os
import threading
import traceback
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kd_sweep.driver.ray.connection import slots_of_node
from kd_sweep.driver.ray.private import with_tunes_environment
from kd_sweep.driver.tune.lock_step.joint_training import JointTraining, Told
from kd_sweep.driver.worker_messages import Assignment, ProcessWanted
from kd_sweep.errors import ProcessLostError
from kd_sweep.study.spec import Resources


class SharedProcess:
    """Trains students for the processes of their trials. Calls wait in its event loop, a thread of its own trains.

    Args:
        gpus: those that torch may see, as in ``CUDA_VISIBLE_DEVICES``; empty on a CPU.
        num_threads: of the CPU.
        num_expected: so many processes of trials will come.
    """

    def __init__(self, gpus: str, num_threads: int, num_expected: int) -> None:
        if gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus
        os.environ["OMP_NUM_THREADS"] = str(num_threads)  # before torch reads it; Ray sets it by an actor's resources
        self._training = JointTraining(num_expected)
        threading.Thread(target=self._train, daemon=True).start()

    async def next_epoch(self, caller: str, assignment: Assignment, stream_id: str, num_known: int) -> Told:
        """Return the next epoch of a trial, or raise what has ended it; as `JointTraining.ask`."""
        return await asyncio.wrap_future(self._training.ask(caller, assignment, stream_id, num_known))

    async def is_there(self) -> None:
        """Answer."""

    async def leave(self, caller: str) -> None:
        """Let go of a caller's trial."""
        self._training.leave(caller)

    def _train(self) -> None:
        try:
            self._training.run()
        except BaseException:  # whoever waits would wait for ever; so it goes on from its checkpoint in another process
            traceback.print_exc()
            os._exit(1)


@dataclass(frozen=True)
class Place:
    """Where a trial runs: trials of one place share a process."""

    node_id: str
    gpus: str
    """Empty on a CPU."""

    @classmethod
    def here(cls) -> "Place":
        """Return the place of the actor that this runs in."""
        context = ray.get_runtime_context()
        return cls(context.get_node_id(), ",".join(context.get_accelerator_ids().get("GPU", [])))

    def process_name(self, number: int) -> str:
        """Return by what the trials of a study find a process of this place.

        Args:
            number: from 0. A dead one keeps its name for as long as its owner lives; the next has another.
        """
        return f"students-{self.node_id}-{self.gpus}-{number}"


class Caller:
    """A trial's process as its shared process knows it."""

    def __init__(self) -> None:
        self.place = Place.here()
        self._name = ray.get_runtime_context().get_actor_id()
        self._process: Any = None
        self._number = 0

    def find_process(self) -> ProcessWanted | None:
        """Find the shared process of this place; return which one is wanted where there is none that lives."""
        while self._has_process():
            try:
                ray.get(self._process.is_there.remote())
            except RayError:
                self._number += 1
            else:
                return None
        return ProcessWanted(self.place.node_id, self.place.gpus, self._number)

    def wait_for_process(self) -> None:
        """Find the process that the driver has started meanwhile.

        Raises:
            ProcessLostError: there is none.
        """
        if not self._has_process():
            raise ProcessLostError("the process that trains students did not start")

    def _has_process(self) -> bool:
        try:
            self._process = ray.get_actor(self.place.process_name(self._number))
        except ValueError:
            return False
        return True

    def next_epoch(self, assignment: Assignment, stream_id: str, num_known: int) -> Told:
        """Return the next epoch of a trial, or raise what has ended it.

        Raises:
            ProcessLostError: the shared process has died.
        """
        try:
            told: Told = ray.get(self._process.next_epoch.remote(self._name, assignment, stream_id, num_known))
        except RayTaskError as error:
            raise error.cause from error
        except RayError as error:
            raise ProcessLostError(str(error)) from None
        return told

    def leave(self) -> None:
        """Tell the shared process, if there is one, that this one ends."""
        if self._process is not None:
            self._process.leave.remote(self._name)


class SharedProcesses:
    """Starts the shared processes that trials want. They end with this object, or with the driver.

    Args:
        wanted: resources of one trial.
        most: how many trials there are to run at a time at most.
    """

    def __init__(self, wanted: Resources, most: int) -> None:
        self._wanted, self._most = wanted, most
        self._handles: dict[str, Any] = {}

    def start(self, wanted: ProcessWanted) -> None:
        """Start a process at a place, unless another trial of that place has had it started meanwhile."""
        place = Place(wanted.node_id, wanted.gpus)
        name = place.process_name(wanted.number)
        if name in self._handles:
            return
        actor = with_tunes_environment(SharedProcess).options(
            name=name,
            num_cpus=0,
            max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(place.node_id, soft=False),
        )
        num_expected = min(self._most, self._num_callers(place))
        self._handles[name] = actor.remote(place.gpus, self._wanted.cpus, num_expected)

    @property
    def handles(self) -> list[Any]:
        """The actors that have been started, dead ones too."""
        return list(self._handles.values())

    def _num_callers(self, place: Place) -> int:
        """Return how many trials there is room for at a place."""
        (node,) = (node for node in ray.nodes() if node["NodeID"] == place.node_id)
        on_node = slots_of_node(self._wanted, node["Resources"])
        return min(on_node, math.floor(1 / self._wanted.gpus + 1e-9)) if place.gpus else on_node
