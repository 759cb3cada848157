"""Several machines: who takes part, Keras's fit under MultiWorkerMirroredStrategy, and peers that die.

Every worker runs the same program; worker 0 is the chief, the only one that writes.
"""
import contextlib
import dataclasses
import faulthandler
import functools
import inspect
import json
import os
import re
import selectors
import signal
import socket
import threading
import time

import keras
import numpy as np
import tensorflow as tf

from training.addresses import all_loopback, host_of, port_of

TESTED_KERAS = "3.15"
UPSTREAM = "https://github.com/keras-team/keras/issues/20585"

# Seconds. A silent peer is dead after PEER_TIMEOUT (one whose process ends is noticed at once); workers
# may start JOIN_TIMEOUT apart; TensorFlow's own start, which nothing can interrupt, may take START_TIMEOUT.
PEER_TIMEOUT, JOIN_TIMEOUT, START_TIMEOUT = 20, 600, 60
LOST_PEER_STATUS = 75                     # EX_TEMPFAIL: the same command may succeed if started again


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The strategy over all workers, and which of them this process is."""
    strategy: tf.distribute.Strategy
    addresses: tuple[str, ...]                # host:port, the chief's first
    index: int

    @property
    def workers(self):
        return len(self.addresses)

    @property
    def is_chief(self):
        """Whether this worker writes the run folder."""
        return self.index == 0

    def sums(self, values):
        """The sums of a list of numbers over the workers; all call it at the same point of their training.

        A signal to stop reaches workers at different updates, and clocks differ: what they do
        next must be decided by all, or they wait for each other without end.
        """
        with lost_peers(self):
            return self.strategy.reduce("SUM", tf.constant(values, tf.float32), axis=None).numpy().tolist()

    def wait(self, name, seconds=3600):
        """Returns when every worker has called it with this name, which serves once.

        Raises LostPeer if one does not come.
        """
        with lost_peers(self):
            tf_context().wait_at_barrier(name, int(seconds * 1000))


class LostPeer(ConnectionError):
    """Another worker has ended or does not answer; this one can only end, and be started again."""
    status = LOST_PEER_STATUS


class PortInUse(OSError):
    """Another process listens on this worker's port; started again with other ports all may go well."""
    status = LOST_PEER_STATUS


@functools.cache
def cluster():
    """Joins the workers that the environment names and returns the Cluster; later calls return the same.

    The workers are those of TF_CONFIG or, where that is not set, of Slurm's job step. Waits
    until all are there, at most JOIN_TIMEOUT. To be called before anything else makes
    TensorFlow initialise its devices. Where all addresses are loopback ones, the port is
    open on loopback only (Linux), but for the moment of TensorFlow's own start.
    Raises ValueError for missing or bad settings, PortInUse, LostPeer if a worker does not
    come, RuntimeError for an untested Keras or a call that is too late.
    """
    addresses, index = members(os.environ)
    apply()
    meet(addresses, index)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    # TensorFlow holds Python's lock while it waits for the peers, so that no exception could come through.
    faulthandler.dump_traceback_later(START_TIMEOUT, exit=True)
    try:
        strategy = joined_strategy(addresses, index)
    finally:
        faulthandler.cancel_dump_traceback_later()
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():         # TensorFlow has put its own in SIGTERM's place
                signal.signal(number, handler)
    if all_loopback(addresses):
        close_other_interfaces(port_of(addresses[index]))
    return Cluster(strategy, tuple(addresses), index)


def joined_strategy(addresses, index):
    """MultiWorkerMirroredStrategy over workers that are all about to call this."""
    from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
    jobs = [coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=len(addresses))]
    milliseconds = PEER_TIMEOUT * 1000
    tf_context().configure_coordination_service(             # as the strategy would, but for the times
        "standalone", "/job:worker/replica:0/task:0", heartbeat_timeout_in_ms=milliseconds,
        shutdown_barrier_timeout_in_ms=milliseconds, coordinated_jobs=jobs)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": addresses}), task_type="worker", task_id=index, rpc_layer="grpc",
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))})
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except RuntimeError as error:
        if "program startup" not in str(error):
            raise
        raise RuntimeError("several workers must be joined before TensorFlow is used for anything else: "
                           "call training.multi_worker.cluster() first") from error


def tf_context():
    """TensorFlow's context of eager execution."""
    from tensorflow.python.eager import context  # not public, and the only door to these settings
    return context.context()


# Who takes part

def members(environment):
    """(addresses of all workers, index of this one) from TF_CONFIG or Slurm's variables.

    Raises ValueError, in a sentence, for whatever does not fit.
    """
    if environment.get("TF_CONFIG"):
        return from_tf_config(environment["TF_CONFIG"])
    if "SLURM_STEP_NUM_TASKS" in environment:
        return from_slurm(environment)
    raise ValueError(
        "several workers need to know each other. Start them by `python -m training.launch --workers N -- "
        "COMMAND` on this machine, by srun under Slurm, or set TF_CONFIG on each (docs/cluster.md); or take "
        "--strategy auto for one process.")


def from_tf_config(text):
    """(addresses, index) of a TF_CONFIG with the jobs worker and, if any, chief, which comes first."""
    example = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text)
        jobs, kind, index = dict(config["cluster"]), config["task"]["type"], int(config["task"]["index"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"TF_CONFIG must be like {example}. Received: {text}") from error
    if not set(jobs) <= {"chief", "worker"} or kind not in jobs:
        raise ValueError(f"TF_CONFIG may have the jobs chief and worker, of which this task is one. "
                         f"Received: {', '.join(jobs)}, of which this is {kind}")
    addresses = [*jobs.get("chief", []), *jobs.get("worker", [])]
    for address in addresses:
        if not (isinstance(address, str) and re.fullmatch(r"\S+:\d+", address) and port_of(address) < 65536):
            raise ValueError(f"the addresses of TF_CONFIG must be host:port. Received: {address}")
    if len(set(addresses)) < len(addresses):
        raise ValueError(f"TF_CONFIG names an address twice: {', '.join(addresses)}")
    if not 0 <= index < len(jobs[kind]):
        raise ValueError(f"TF_CONFIG has {len(jobs[kind])} of the job {kind}, so that its index must be in "
                         f"[0, {len(jobs[kind])}). Received: {index}")
    return addresses, index + (len(jobs.get("chief", [])) if kind == "worker" else 0)


def from_slurm(environment):
    """(addresses, index) of the tasks of a Slurm job step, through TensorFlow's resolver.

    The ports come from the job's number, so that jobs on one node keep apart. The resolver
    would number nodes by name ("n10" before "n9") where Slurm numbers them as it lists
    them; and its division of the GPUs among tasks is left to Slurm (--gpus-per-task).
    """
    from tensorflow.python.distribute.cluster_resolver.slurm_cluster_resolver import expand_hostlist
    try:
        tasks = int(environment["SLURM_STEP_NUM_TASKS"])
        nodes = expand_hostlist(environment["SLURM_STEP_NODELIST"])
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=12000 + int(environment.get("SLURM_JOB_ID", 0)) % 20000,
            gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False)
        addresses = resolver.cluster_spec().as_dict()["worker"]
    except (KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"Slurm's variables do not describe a job step ({error}). Start the workers by srun."
                         ) from error
    addresses.sort(key=lambda address: nodes.index(host_of(address)))       # stable: ports keep their order
    index, node = int(environment["SLURM_PROCID"]), environment.get("SLURMD_NODENAME")
    if node is not None and node != host_of(addresses[index]):
        raise ValueError(f"task {index} is on node {node} and not on {host_of(addresses[index])}: "
                         "start the workers by srun --distribution=block")
    return addresses, index


# Meeting before TensorFlow starts

def meet(addresses, index):
    """Returns when all workers are there, each in its place with the same settings.

    TensorFlow's own wait for them has no end, and neither ctrl-C nor SIGTERM interrupts
    it; a worker started anew would also disturb those that wait. The chief listens on the
    port that TensorFlow gets afterwards.
    """
    hello = {"addresses": addresses, "tensorflow": tf.__version__, "keras": keras.__version__}
    deadline = time.monotonic() + JOIN_TIMEOUT
    with listener(addresses, index) as server:
        if index == 0:
            receive(server, hello, addresses, deadline)
            return
    report_to(addresses, index, hello, deadline)


def listener(addresses, index):
    """A socket that listens on this worker's port. Raises PortInUse if it is in use."""
    host, port = host_of(addresses[index]), port_of(addresses[index])
    try:
        if all_loopback(addresses):
            return socket.create_server((host, port),
                                        family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise PortInUse(f"worker {index} cannot listen on port {port} ({error.strerror}). "
                      "Is another run using it? Choose another port.") from error


def receive(server, hello, addresses, deadline):
    """The chief's side: answers all others at once, when each of them is there and still waiting."""
    waiting = {}                                             # {index: connection}
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as connections:
        selector.register(server, selectors.EVENT_READ)
        while len(waiting) < len(addresses) - 1:
            events = selector.select(max(0.0, deadline - time.monotonic()))
            if not events:
                absent = [addresses[i] for i in range(1, len(addresses)) if i not in waiting]
                raise LostPeer(f"of {len(addresses)} workers, {', '.join(absent)} did not come within "
                               f"{JOIN_TIMEOUT} seconds")
            for key, _ in events:
                if key.fileobj is not server:                # it has nothing to say but that it is gone
                    selector.unregister(key.fileobj)
                    waiting.pop(key.data, None)
                    continue
                connection = connections.enter_context(server.accept()[0])
                connection.settimeout(5)
                index = newcomer(connection, hello, len(addresses), waiting)
                if index is not None:
                    waiting[index] = connection
                    selector.register(connection, selectors.EVENT_READ, index)
        for connection in waiting.values():
            with contextlib.suppress(OSError):
                connection.sendall(b"begin\n")


def newcomer(connection, hello, workers, waiting):
    """The index of a worker that has just connected; None if it does not belong, which it is told."""
    try:
        received = json.loads(connection.makefile("r").readline())
        index = received.pop("index")
        if received != hello:
            different = [name for name in hello if received.get(name) != hello[name]]
            answer = "; ".join(f"the chief has {name} {hello[name]}, this worker {received.get(name)}"
                               for name in different)
        elif not 0 < index < workers or index in waiting:
            answer = f"there is a worker {index} already"
        else:
            return index
        connection.sendall(f"{answer}\n".encode())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass                                                 # no worker: a port scan, or one that just died
    return None


def report_to(addresses, index, hello, deadline):
    """The others' side: connects to the chief, again and again until it is there, and waits for its word."""
    message, reason = json.dumps({**hello, "index": index}).encode() + b"\n", "no answer"
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host_of(addresses[0]), port_of(addresses[0])), timeout=5) as chief:
                chief.sendall(message)
                chief.settimeout(max(0.1, deadline - time.monotonic()))
                answer = chief.makefile("r").readline().strip()
        except OSError as error:
            answer, reason = "", error.strerror or str(error)
        if answer == "begin":
            return
        if answer:
            raise ValueError(f"worker {index} cannot join {addresses[0]}: {answer}")
        time.sleep(0.2)
    raise LostPeer(f"the chief, {addresses[0]}, was not there within {JOIN_TIMEOUT} seconds ({reason})")


def close_other_interfaces(port):
    """Binds the listening sockets of this process on port to the loopback device (Linux).

    TensorFlow listens on all interfaces, whatever the address (its gRPC server has no
    setting for it), and serves anybody who connects. Raises OSError where the system refuses.
    """
    if not hasattr(socket, "SO_BINDTODEVICE"):
        return
    for name in os.listdir("/proc/self/fd"):
        try:
            copy = os.dup(int(name))
        except OSError:
            continue                                         # the descriptor of the listing itself
        try:
            listening = socket.socket(fileno=copy)
        except OSError:
            os.close(copy)
            continue                                         # not a socket
        with listening:
            if (listening.family in (socket.AF_INET, socket.AF_INET6)
                    and listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                    and listening.getsockname()[1] == port):
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")


# Peers that die

@contextlib.contextmanager
def lost_peers(cluster):
    """Turns TensorFlow's errors about a dead or silent worker into LostPeer, which names it.

    cluster: None for a run of one process, whose errors pass.
    Whoever waits for that worker in a collective gets the error: at once where its process
    has ended, after PEER_TIMEOUT where it is silent.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.CancelledError,
            tf.errors.AbortedError, tf.errors.FailedPreconditionError, tf.errors.InternalError) as error:
        if cluster is None:
            raise
        tasks = [int(number) for number in re.findall(r"/job:worker/(?:replica:0/)?task:(\d+)", str(error))]
        others = [task for task in tasks if task != cluster.index]
        heartbeat = "CoordinationService" in str(error) or "eartbeat" in str(error)
        if not others and not heartbeat:
            raise
        lost = others[-1] if others else 0                   # the last is the first cause; else the chief's
        raise LostPeer(f"worker {lost} ({cluster.addresses[lost]}) has ended or does not answer, so that "
                       f"worker {cluster.index} ends too. Start all again to go on.") from error


# State that differs between replicas

def average_statistics(model, strategy):
    """Gives non-trainable variables that differ between replicas their mean, on all workers alike.

    BatchNormalization's moving statistics differ: each replica sees its own rows. All
    workers call this before they use them. Variables that are equal everywhere keep
    their bits. Raises ValueError for a difference in integers, as a seed's or a counter's.
    """
    state = non_trainable(model)
    for index, values in replica_values(model, strategy).items():
        if not keras.backend.is_float_dtype(state[int(index)].dtype):
            raise ValueError(f"{state[int(index)].path} must be equal on all workers. "
                             f"Received: {values.tolist()}")
        state[int(index)].assign(np.mean(values, axis=0, dtype=np.float64))


def replica_values(model, strategy):
    """{index in non_trainable: array (replicas, *shape)} of those that differ; all workers call it."""
    state = non_trainable(model)
    if strategy.num_replicas_in_sync == 1 or not state:
        return {}
    local = [strategy.experimental_local_results(variable.value) for variable in state]
    rows = [tf.concat([tf.reshape(tf.cast(values[replica], tf.float64), [-1]) for values in local], axis=0)
            for replica in range(len(local[0]))]
    gathered = strategy.gather(strategy.experimental_distribute_values_from_function(
        lambda context: rows[context.replica_id_in_sync_group % len(rows)][None]), axis=0)
    sizes = [int(np.prod(variable.shape)) for variable in state]
    parts = np.split(np.asarray(gathered), np.cumsum(sizes)[:-1], axis=1)
    return {str(index): part.reshape(-1, *variable.shape)
            for index, (variable, part) in enumerate(zip(state, parts, strict=True))
            if not (part == part[:1]).all()}


def give_replica_values(model, strategy, found):
    """Gives each replica its own of replica_values; their mean where the number of replicas has changed."""
    state, resolver = non_trainable(model), strategy.cluster_resolver
    for index, values in found.items():
        variable = state[int(index)]
        local = strategy.experimental_local_results(variable.value)
        if len(values) != strategy.num_replicas_in_sync:
            variable.assign(np.mean(values, axis=0))
            continue
        first = len(local) * (resolver.task_id or 0) if resolver else 0
        for replica, component in enumerate(local):
            component.assign(tf.cast(values[first + replica], component.dtype))


def non_trainable(model):
    """The variables whose replicas may differ: all but weights, metrics and text."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return [variable for variable in model.variables
            if not variable.trainable and id(variable) not in metrics and variable.dtype != "string"]


# Keras's fit

def apply():
    """Makes model.fit, evaluate and predict work under MultiWorkerMirroredStrategy; see UPSTREAM.

    Three faults in keras/src/backend/tensorflow/trainer.py: the symbolic build reduces the
    per-replica batch, which must be done inside a function; the per-replica results, which
    are scalars, are reduced along axis 0; and with steps_per_execution above 1 the sum over
    workers is in a function within a tf.cond, where it does not get the key that it is called
    with ("You must feed a value for placeholder tensor"). Such steps are called one by one.
    Does nothing where Keras no longer has the second. Raises RuntimeError for an untested
    version of Keras that still has it.
    """
    from keras.src.backend.tensorflow import trainer
    if hasattr(trainer.reduce_per_replica, "corrects"):
        return
    faulty = 'strategy.reduce("MEAN", v, axis=0)' in inspect.getsource(trainer.reduce_per_replica)
    if not faulty:
        return
    if not keras.__version__.startswith(TESTED_KERAS + "."):
        raise RuntimeError(f"Keras {keras.__version__} cannot train on several machines ({UPSTREAM}), and "
                           f"the correction was tested with Keras {TESTED_KERAS} only: "
                           f"install keras=={TESTED_KERAS}.*")
    reduce_per_replica, Trainer = trainer.reduce_per_replica, trainer.TensorFlowTrainer
    build, make_function = Trainer._maybe_symbolic_build, Trainer._make_function

    @functools.wraps(reduce_per_replica)
    def corrected_reduce(values, strategy, reduction):
        if reduction in ("auto", "mean") and trainer._collective_all_reduce_multi_worker(strategy):
            return keras.tree.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), values)
        return reduce_per_replica(values, strategy, reduction)

    @functools.wraps(build)
    def corrected_build(self, iterator=None, data_batch=None):
        strategy = self.distribute_strategy
        if iterator is None or not trainer._collective_all_reduce_multi_worker(strategy):
            return build(self, iterator=iterator, data_batch=data_batch)
        for _, _, batches in iterator:
            batch = next(batches)
            break
        mine = keras.tree.map_structure(         # shapes and dtypes are all that the build needs
            lambda value: strategy.experimental_local_results(value)[0], batch)
        return build(self, data_batch=mine)

    @functools.wraps(make_function)
    def corrected_make_function(self, step_function):
        function = make_function(self, step_function)
        if not trainer._collective_all_reduce_multi_worker(self.distribute_strategy):
            return function

        def one_by_one(iterator):
            steps, outputs = self.steps_per_execution, None
            self.steps_per_execution = 1
            try:
                for _ in range(steps):
                    outputs = function(iterator)
            except (StopIteration, tf.errors.OutOfRangeError):
                if outputs is None:
                    raise
            finally:
                self.steps_per_execution = steps
            return outputs
        return one_by_one

    corrected_reduce.corrects = UPSTREAM
    trainer.reduce_per_replica = corrected_reduce
    Trainer._maybe_symbolic_build, Trainer._make_function = corrected_build, corrected_make_function
