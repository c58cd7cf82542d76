"""Workers of a Dask cluster: one that runs, or one that is started on this machine.

Dask is imported here only, when `--scheduler` asks for it.
"""

from __future__ import annotations

import json
import logging
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from convcli import __version__
from convcli.errors import ConvError, InputError, WorkerError, brief, printable, reason
from convcli.jobs.executors import host
from convcli.jobs.executors.host import INSTALL, Problem, Run
from convcli.jobs.executors.remote import RemoteWorkers
from convcli.jobs.executors.workers import Probe
from convcli.limits import Limits, chosen_threads

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

CONNECT_SECONDS = 10.0
"""Seconds in which a scheduler must answer."""

STOP_SECONDS = 5.0
"""Seconds in which a cluster must answer at the end: it may be gone."""

REFRESH_SECONDS = 2.0
"""Seconds between questions for the number of workers."""

_VERSIONS = "{name: __import__(name).__version__ for name in ('convcli', 'numpy', 'PIL')}"
"""An expression, as a function of convcli's could not be found by workers with another version."""

_logger = logging.getLogger("convcli")


class Resources(NamedTuple):
    """What a cluster has: workers, calls that they run at once, and memory and threads of each.

    memory: bytes, None if Dask sets no limit.
    """

    workers: int = 0
    calls: int = 0
    memory: int | None = None
    threads: int = 1


class DaskWorkers(RemoteWorkers):
    """The workers of a Dask cluster.

    place: where the cluster is, in messages. jobs: the number of groups that are submitted at once,
    None for as many as keep all workers busy. cluster: is closed at the end.
    """

    def __init__(
        self,
        client: Client,
        run: Run,
        place: str,
        jobs: int | None = None,
        cluster: LocalCluster | None = None,
    ) -> None:
        super().__init__(run)
        self._client, self._cluster, self._place, self._jobs = client, cluster, place, jobs
        self._executor = client.get_executor(pure=False)
        self._over = threading.Event()
        versions = _check_versions(client)
        self._found = _resources(client)
        self._most_seen = self._found.workers
        self._versions = _describe(versions)
        self.memory = self._found.memory
        if cluster is None:
            self._run = replace(run, threads=self._found.threads)
        if not self._found.workers:
            _logger.warning(
                "warning: the scheduler %s has no workers yet, and the work waits for them; start "
                "some with 'dask worker'",
                place,
            )
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def count(self) -> int:
        return max(min(self._found.calls, self._jobs or self._found.calls), 1)

    @property
    def window(self) -> int:
        return self._jobs or super().window

    @property
    def words(self) -> str:  # type: ignore[override]
        return f"{self._most_seen:,} {self._place}, {self._versions}"

    def limits(self, given: Limits) -> Limits:
        """Return the limits of one call: what is given, or less if its worker may use less."""
        if self._cluster is not None:
            return super().limits(given)
        if self.memory is None or (self.memory > given.memory and not given.is_default):
            return given
        return replace(given, memory=self.memory)

    def check_files(self, probes: tuple[Probe, ...]) -> None:
        super().check_files(probes)
        found = self._client.run(host.find_problem, self._run, on_error="ignore")
        for worker, problem in found.items():
            if problem is not None:
                raise problem.error(worker)

    def close(self) -> None:
        self._stop()

    def kill(self) -> None:
        with suppress(Exception):  # the scheduler may be gone
            _in_time(lambda: self._executor.shutdown(wait=False))
        self._stop()

    def _stop(self) -> None:
        """Stop the processes of this run, and leave the cluster."""
        self._over.set()
        host.stop(self._run.id)
        if self._client.status == "running":
            _in_time(lambda: self._client.run(host.stop, self._run.id, on_error="ignore"))
        for each in (self._client, self._cluster):
            if each is not None:
                _in_time(each.close)

    def _send(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = self._executor.submit(function, *arguments)
        return future

    def _translate(self, error: BaseException) -> BaseException:
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            return WorkerError(f"its worker died twice, the last time {error.last_worker.address}")
        if isinstance(error, CancelledError) or self._client.status != "running":
            return ConvError(
                f"the scheduler {self._place} is gone", "", "start it again, and add --resume"
            )
        if isinstance(error, ModuleNotFoundError):
            return InputError(f"a worker lacks a module; {error}", "", INSTALL)
        if isinstance(error, ConvError):
            return error
        return WorkerError(f"its worker failed; {brief(error)}")  # such as one that shuts down

    def _watch(self) -> None:
        """Count the workers every few seconds: a cluster may grow and shrink."""
        while not self._over.wait(REFRESH_SECONDS):
            with suppress(Exception):  # the scheduler may be gone, and then calls fail
                threads = self._client.nthreads()
                self._found = self._found._replace(
                    workers=len(threads), calls=sum(threads.values())
                )
                self._most_seen = max(self._most_seen, len(threads))


def connect(scheduler: str, jobs: int | None, run: Run) -> DaskWorkers:
    """Return the workers of the cluster at an address, or that a scheduler file describes.

    Raises InputError if no scheduler answers there, or if a worker has another version of convcli
    or does not see the probes.
    """
    _check_installed()
    from distributed import Client

    address = scheduler if "://" in scheduler else _address_in(Path(scheduler))
    with _quiet():
        try:
            client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="convcli")
        except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:
            raise _no_answer(address, error) from error
        try:
            return DaskWorkers(client, run, f"at {printable(address)}", jobs)
        except BaseException:
            _in_time(client.close)
            raise


def start_cluster(jobs: int, run: Run) -> DaskWorkers:
    """Start a Dask cluster on this machine, and return its workers.

    The workers are in this process: each call is in a process of its own anyway. The scheduler
    accepts no connections from elsewhere.
    """
    _check_installed()
    import dask
    from distributed import Client, LocalCluster

    with _quiet(), dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        try:
            cluster = LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                processes=False,
                dashboard_address="127.0.0.1:0",
                memory_limit=None,
            )
            client = Client(cluster, set_as_default=False)
        except (OSError, RuntimeError) as error:
            raise ConvError(
                "a Dask cluster could not start", brief(error), "leave --scheduler out"
            ) from error
        return DaskWorkers(client, run, "in a Dask cluster on this machine", cluster=cluster)


def _check_installed() -> None:
    """Raise InputError if distributed is not installed."""
    if find_spec("distributed") is None:
        raise InputError(
            "--scheduler takes dask's distributed, which is not installed",
            "",
            "pip install 'convcli[dask]'",
        )


def _address_in(path: Path) -> str:
    """Return the address in a scheduler file. Raises InputError."""
    try:
        return str(json.loads(path.read_text())["address"])
    except OSError as error:
        raise InputError(f"{path} cannot be read", reason(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no scheduler file",
            "expected the JSON that 'dask scheduler --scheduler-file' writes",
        ) from error


def _no_answer(address: str, error: Exception) -> InputError:
    if isinstance(error, OSError):
        return InputError(
            f"no scheduler answers at {printable(address)} within {CONNECT_SECONDS:g} s",
            "",
            "start one with 'dask scheduler', or leave --scheduler out",
        )
    return InputError(
        f"--scheduler {address!r}", brief(error), "check the address and Dask's configuration"
    )


def _check_versions(client: Client) -> list[dict[str, str]]:
    """Return the versions of packages of each worker.

    Raises InputError if one has another version of convcli.
    """
    found = []
    for worker, versions in client.run(eval, _VERSIONS, on_error="return").items():
        if isinstance(versions, ImportError):
            problem = f"has no convcli; {brief(versions)}"
            raise Problem(problem, f"this is {__version__}", INSTALL).error(worker)
        if not isinstance(versions, dict):  # the worker has just left
            continue
        if versions["convcli"] != __version__:
            problem = f"has convcli {versions['convcli']}"
            raise Problem(problem, f"this is {__version__}", INSTALL).error(worker)
        found.append(versions)
    return found


def _describe(found: list[dict[str, str]]) -> str:
    """Return versions in words, and warn if they may lead to different bytes.

    >>> _describe([{"convcli": __version__, "numpy": "2.4.6", "PIL": "13.0.0"}]).partition(" ")[0]
    'convcli'
    """
    own: dict[str, str] = eval(_VERSIONS)
    differing = []
    for package, name in {"numpy": "numpy", "PIL": "Pillow"}.items():
        versions = sorted({each[package] for each in (own, *found)})
        if len(versions) > 1:
            differing.append(f"{name} {' and '.join(versions)}")
    if differing:
        _logger.warning(
            "warning: workers and this machine have %s, so that bytes may differ; %s",
            ", ".join(differing),
            INSTALL,
        )
    return ", ".join((f"convcli {__version__} on all", *differing))


def _resources(client: Client) -> Resources:
    """Return what the workers have; the calls on one machine share its cores."""
    info = client.scheduler_info(n_workers=-1)["workers"]
    cores = client.run(host.cores, on_error="return")
    calls = Counter[str]()
    for each in info.values():
        calls[each["host"]] += each["nthreads"]
    memory = [
        each["memory_limit"] // max(each["nthreads"], 1)
        for each in info.values()
        if each["memory_limit"]
    ]
    shares = [
        cores[name] // calls[each["host"]]
        for name, each in info.items()
        if isinstance(cores.get(name), int)
    ]
    most = chosen_threads()
    threads = max(min((*shares, *((most,) if most else ())), default=1), 1)
    return Resources(len(info), calls.total(), min(memory, default=None), threads)


def _in_time(call: Callable[[], Any]) -> None:
    """Make a call that must not take long, and leave it if it does; its errors do not matter."""

    def attempt() -> None:
        with suppress(Exception):
            call()

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(STOP_SECONDS)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide Dask's own log and warnings: convcli reports what they are about."""
    for handler in logging.getLogger("distributed").handlers:
        handler.setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="distributed")
        yield
