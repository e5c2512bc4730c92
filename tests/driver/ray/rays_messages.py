"""Messages of Ray 2.60 about processes that died, word for word."""

ACTOR = """The actor died unexpectedly before finishing this task.
	class_name: TrialActor
	actor_id: c0113c800bc76cd43bf705a401000000
	pid: 32605
	namespace: 5383dc8a-4a14-4c41-95e4-36fad9ec7bbf
	ip: 10.0.0.3
"""
KILLED = (
    ACTOR + "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: "
    "Worker unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the "
    "process was killed by the OOM killer due to high memory usage, (2) ray stop --force was called, or (3) the "
    "worker crashed unexpectedly due to SIGSEGV or another unexpected error."
)
TOLD_TO_END = (
    ACTOR + "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: "
    "Worker exits unexpectedly. Worker exits with an exit code 1. The process receives a SIGTERM."
)
NODE = ACTOR + "The actor died because its node has died. Node Id: fb1bc65ca1bc07743e393efadbb65823d20d3c273311f209\n"
NODE_TOLD_TO_END = NODE + "	the actor's node was terminated expectedly: received SIGTERM"
NODE_SILENT = (
    NODE + "	the actor's node was terminated unexpectedly: health check failed due to missing too many heartbeats"
)
OUT_OF_MEMORY = """1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.0.0.3, \
ID: d5f4264cc674ef90acbe9a09dd4de692f58168147a33482c0da2ac75) was 22.91GB used / 23.54GB limit (0.973237)
OOM kill reason: Memory usage 24601491840B exceeded threshold of 24012260556B (95.0% of 25276063744B limit)
Refer to the documentation on how to address the out of memory issue: https://docs.ray.io/en/latest/"""
UNAVAILABLE = """The actor 03175098982c25504693276501000000 is unavailable: The actor is temporarily unavailable: \
RpcError: RPC error: recvmsg:Connection reset by peer rpc_code: 14. The task may or may not have been executed."""
