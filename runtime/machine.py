"""The facts about this machine that decide whether, and how fast, a bundle runs on it.

No host name, no user's name and no environment variable's value is among them, and looking them up
opens no connection.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec

import clin_edge
from clin_edge.core.errors import BundleError, InputError
from clin_edge.runtime.memory import memory_available_bytes, memory_limit_bytes
from clin_edge.runtime.processor import Processor, processor
from clin_edge.runtime.threads import CpuShare, cpu_share, threads_asked

ENGINES = ("openvino", "onnxruntime")
READY, MISSING, BROKEN = "ready", "missing", "broken"
_START_LIMIT_S = 30

# In a process of its own: an engine that the processor or a fault stops dead must not stop us.
# With -P, a file in the current folder that is called like an engine is none.
_START = """
import clin_edge, sys
if sys.argv[1] == "openvino":
    import openvino as engine
    engine.Core().get_property("CPU", "FULL_DEVICE_NAME")
else:
    import onnxruntime as engine
    if "CPUExecutionProvider" not in engine.get_available_providers():
        sys.exit(1)
print(engine.__version__)
"""


@dataclass(frozen=True, slots=True)
class EngineFact:
    """An engine: ``ready`` (it starts), ``missing`` or ``broken`` (there, but it does not)."""

    name: str
    state: str
    version: str = ""

    def __post_init__(self) -> None:
        """Refuse another engine or state."""
        if self.name not in ENGINES or self.state not in (READY, MISSING, BROKEN):
            raise ValueError(f"no engine's state: {self.name}, {self.state}")


@dataclass(frozen=True, slots=True)
class BundleFact:
    """The bundle a command would use. ``problem`` says why it was refused; then little is known."""

    path: str
    problem: str = ""
    name: str = ""
    version: str = ""
    id: str = ""
    precision: str = ""
    engines: tuple[str, ...] = ()
    n_files: int = 0
    size_bytes: int = 0

    @property
    def verified(self) -> bool:
        """Tell whether every file is as the manifest lists it."""
        return not self.problem


@dataclass(frozen=True, slots=True)
class Machine:
    """What is known of this machine and this installation.

    Attributes:
        clin_edge, python: Versions.
        system: Name and version of the operating system.
        cpus: What the process may use; ``threads_problem`` says why a number asked for is none.
        memory_bytes: What the process can have at most; None: the system does not tell.
        memory_available_bytes: What it could take now; None likewise.
        engines: Each engine this version knows.
        reports_off: Whether the usage reports of each engine that has some are switched off.
    """

    clin_edge: str
    python: str
    system: str
    processor: Processor
    cpus: CpuShare
    threads_problem: bool
    memory_bytes: int | None
    memory_available_bytes: int | None
    engines: tuple[EngineFact, ...]
    bundle: BundleFact
    reports_off: bool


def look_up_machine(bundle: str | os.PathLike[str] | None = None) -> Machine:
    """Look up every fact, in less than a second; the bundle is verified, as by ``verify``.

    Args:
        bundle: The bundle's folder; by default ``CLIN_EDGE_BUNDLE``, or else the one that comes
            with the package. One that is refused is told as a fact.
    """
    with ThreadPoolExecutor(len(ENGINES)) as pool:
        started = [pool.submit(start_engine, name) for name in ENGINES]
        bundle_fact = look_up_bundle(bundle)
        engines = tuple(one.result() for one in started)
    try:
        asked, threads_problem = threads_asked(), False
    except InputError:
        asked, threads_problem = None, True
    return Machine(
        clin_edge=clin_edge.__version__,
        python=platform.python_version(),
        system=_system(),
        processor=processor(),
        cpus=cpu_share(asked),
        threads_problem=threads_problem,
        memory_bytes=memory_limit_bytes(),
        memory_available_bytes=memory_available_bytes(),
        engines=engines,
        bundle=bundle_fact,
        reports_off=_reports_off(),
    )


def start_engine(name: str, program: Sequence[str] = ("-c", _START)) -> EngineFact:
    """Find out whether an engine is installed, and starts in a fresh process within 30 s."""
    try:
        if find_spec(name) is None:
            return EngineFact(name, MISSING)
    except ValueError:  # its import was blocked
        return EngineFact(name, MISSING)
    try:
        done = subprocess.run(
            [sys.executable, "-P", *program, name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_START_LIMIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return EngineFact(name, BROKEN)
    version = done.stdout.decode("ascii", "replace").strip().split("-")[0]
    return EngineFact(name, READY, version)


def look_up_bundle(path: str | os.PathLike[str] | None = None) -> BundleFact:
    """Verify a bundle, the default one without ``path``; what is wrong with it is a fact."""
    chosen = str(path or os.environ.get("CLIN_EDGE_BUNDLE") or "")
    try:
        from clin_edge.runtime.pipeline import bundle_folder, open_default_or

        chosen = str(bundle_folder(path))
        bundle = open_default_or(path)
    except ImportError:  # numpy or tokenizers cannot be loaded
        return BundleFact(chosen, problem="cannot be checked; install clin-edge again")
    except BundleError as error:
        return BundleFact(chosen, problem=str(error).removeprefix(chosen).lstrip(":/\\ "))
    manifest = bundle.manifest
    return BundleFact(
        path=chosen,
        name=manifest.name,
        version=manifest.version,
        id=bundle.id,
        precision=manifest.precision,
        engines=manifest.engines,
        n_files=len(bundle.files),
        size_bytes=sum(map(len, bundle.files.values())),
    )


def _reports_off() -> bool:
    """Tell whether ``clin_edge`` shut what its engines would report; see its ``__init__``."""
    shut = sys.modules.get("openvino_telemetry", clin_edge) is None
    return shut and os.environ.get("ORT_DISABLE_TELEMETRY") == "1"


def _system() -> str:
    """Name the operating system and its version, without the machine's name."""
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"
