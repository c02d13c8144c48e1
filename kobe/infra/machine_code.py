"""Compiled kernels run without numba: the machine code it made in an earlier process, loaded by llvmlite alone.

Importing numba and looking a kernel up in its cache take a quarter of a second, loading its machine code takes
milliseconds. So what numba compiled is kept when a process ends, under a name made of everything it depends on: the
kernel's bytecode and that of every kernel it calls, the types of the arguments, numba's own build and the processor.
A process that finds it there (`core.compiled.use`) calls it as numba would, by numba's calling convention; where
anything is missing, numba does the work. `KEEPS` says which results can be handed over.
"""

import ctypes
import functools
import hashlib
import importlib.util
import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from kobe.core.compiled import Refused, content
from kobe.infra import durable

KEEPS: dict[str, Any] = {"none": None, "int64": ctypes.c_int64, "float64": ctypes.c_double}
"""What numba calls the type of a result -> where the machine code puts it."""
HELPERS = {"numba._helperlib": "numba_", "numba.core.runtime._nrt_python": "NRT_"}
"""numba's own modules in C that compiled kernels call, and what their functions' names begin with there."""
_SCALARS: dict[type, tuple[str, Any]] = {
    int: ("int64", ctypes.c_int64), np.int64: ("int64", ctypes.c_int64), bool: ("bool", ctypes.c_bool),
    float: ("float64", ctypes.c_double), np.float64: ("float64", ctypes.c_double),
}  # fmt: skip
_LOCK = threading.Lock()
_ENGINES: list[Any] = []  # the code lives as long as they do
Native = Callable[[Sequence[Any]], Any]


def kinds(arguments: Sequence[Any]) -> str | None:
    """Name the types of arguments as `kinds_of_types` names numba's, or None where one is of no kept kind."""
    told = [_kind(value) for value in arguments]
    return None if None in told else ",".join(str(kind) for kind in told)


def _kind(value: Any) -> str | None:
    if type(value) is np.ndarray:
        plain = value.flags.c_contiguous and value.flags.aligned and value.ndim and value.dtype.isnative
        plain = plain and value.dtype.kind in "biuf"
        return f"{value.dtype.name}x{value.ndim}{'w' if value.flags.writeable else 'r'}" if plain else None
    if type(value) is tuple:
        inner = kinds(value)
        return None if inner is None else f"({inner})"
    if type(value) is int and not -(1 << 63) <= value < 1 << 63:
        return None
    known = _SCALARS.get(type(value))
    return None if known is None else known[0]


def kinds_of_types(types: Sequence[Any]) -> str | None:
    """Name numba's types of arguments, or None where one is of no kept kind."""
    told = [_kind_of_type(kind) for kind in types]
    return None if None in told else ",".join(str(kind) for kind in told)


def _kind_of_type(kind: Any) -> str | None:
    if hasattr(kind, "layout"):
        plain = kind.layout == "C" and kind.aligned and kind.ndim and type(kind).__name__ == "Array"
        return f"{kind.dtype}x{kind.ndim}{'w' if kind.mutable else 'r'}" if plain else None
    if type(kind).__name__ in ("UniTuple", "Tuple"):
        inner = kinds_of_types(tuple(kind))
        return None if inner is None else f"({inner})"
    return str(kind) if str(kind) in ("int64", "float64", "bool") else None


@dataclass(frozen=True)
class MachineCode:
    """The kept machine code of one folder, behind `core.compiled.KeptCode`."""

    folder: Path
    _found: dict[tuple[FunctionType, str], Native] = field(default_factory=dict, repr=False)

    def find(self, function: FunctionType, arguments: Sequence[Any]) -> Native | None:
        """Return the machine code of a kernel for such arguments, or None where none is kept."""
        kind = kinds(arguments)
        if kind is None:
            return None
        with _LOCK:
            if (function, kind) not in self._found:
                native = self._read(function, kind)
                if native is None:
                    return None
                self._found[function, kind] = native
            return self._found[function, kind]

    def _read(self, function: FunctionType, kind: str) -> Native | None:
        with suppress(OSError, ValueError, RuntimeError, ImportError):
            content = self._path(function, kind).read_bytes()
            if hashlib.blake2b(content[32:], digest_size=32).digest() != content[:32]:
                return None
            name, result, code = content[32:].split(b"\n", 2)
            return _native(_address(name.decode(), code), kind, KEEPS[result.decode()])
        return None

    def keep(self, function: FunctionType, dispatcher: Any) -> None:
        """Keep what numba compiled of a kernel in this process or found in its own cache."""
        for types, compiled in dispatcher.overloads.items():
            kind, result = kinds_of_types(types), str(compiled.signature.return_type)
            if kind is None or result not in KEEPS or self._path(function, kind).exists():
                continue
            cache = dispatcher._cache  # noqa: SLF001 - numba has no other way to its object code
            held = cache._cache_file.load(cache._index_key(types, dispatcher.targetctx.codegen()))  # noqa: SLF001
            if held is not None and held[0][1] == "object":
                body = b"\n".join([held[1].llvm_func_name.encode(), result.encode(), bytes(held[0][2][0])])
                _write(self._path(function, kind), hashlib.blake2b(body, digest_size=32).digest() + body)

    def _path(self, function: FunctionType, kind: str) -> Path:
        """Return the name that says everything the code depends on."""
        stem = f"{function.__module__}.{function.__qualname__}-{_short(kind)}"
        return self.folder / f"{stem}-{_short(chr(10).join([_built(), *content(function)]))}.o"


def _write(path: Path, content: bytes) -> None:
    """Put a file in the place of those that the same kernel left for the same arguments before it changed."""
    durable.write_whole(path, content, sync_name=False, sync_content=False)
    for old in path.parent.glob(f"{path.stem.rpartition('-')[0]}-*.o"):
        if old != path:
            old.unlink(missing_ok=True)


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


@functools.cache
def _built() -> str:
    """Tell which numba, Python and processor the code is for.

    Raises:
        OSError: numba's own modules are not where it keeps them.
    """
    import llvmlite
    import llvmlite.binding as llvm

    files = [Path(path) for path in _helper_files().values()]
    stats = [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files]
    plain = ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS")
    told = sorted((k, v) for k, v in os.environ.items() if k.startswith("NUMBA_") and k not in plain)
    return repr((
        stats, told, sys.implementation.cache_tag, llvmlite.__version__,
        llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(),
    ))  # fmt: skip


def _helper_files() -> Mapping[str, str]:
    found = importlib.util.find_spec("numba")  # says where it is, imports nothing
    if found is None or not found.submodule_search_locations:
        raise ImportError("numba")
    ending = sysconfig.get_config_var("EXT_SUFFIX")
    root = Path(found.submodule_search_locations[0])
    return {name: str(root.joinpath(*name.split(".")[1:])) + str(ending) for name in HELPERS}


@functools.cache
def _prepared() -> None:
    """Let LLVM know this machine and numba's own functions in C, under the names that compiled kernels call."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for name, path in _helper_files().items():
        if name not in sys.modules:
            found = importlib.util.spec_from_file_location(name, path)
            if found is None or found.loader is None:
                raise ImportError(name)
            module = importlib.util.module_from_spec(found)
            found.loader.exec_module(module)
            sys.modules[name] = module  # numba itself, if it comes later, finds it there
        for helper, address in sys.modules[name].c_helpers.items():
            llvm.add_symbol(helper if helper.startswith("_") else HELPERS[name] + helper, address)


def _address(name: str, code: bytes) -> int:
    import llvmlite.binding as llvm

    _prepared()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _ENGINES.append(engine)
    address = engine.get_function_address(name)
    if not address:
        raise ValueError(name)
    return int(address)


def _native(address: int, kind: str, result: Any) -> Native:
    """Wrap a function by numba's calling convention: (result, fault, each argument taken apart) -> status."""
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *_ctypes_of(kind))(address)

    def call(arguments: Sequence[Any]) -> Any:
        out, fault = (result or ctypes.c_void_p)(), ctypes.c_void_p()
        if function(ctypes.addressof(out), ctypes.addressof(fault), *_flat(arguments)):
            raise Refused
        return out.value if result else None

    return call


def _ctypes_of(kind: str) -> Iterator[Any]:
    scalars = dict(_SCALARS.values())
    for one in kind.replace("(", "").replace(")", "").split(","):
        if one in scalars:
            yield scalars[one]
        else:
            places = 2 * int(one[:-1].rpartition("x")[2])  # as many extents as strides
            yield from (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_void_p)
            yield from [ctypes.c_ssize_t] * places


def _flat(arguments: Sequence[Any]) -> Iterator[Any]:
    """Take arguments apart: of an array nobody's owner (we keep it), size, item size, address, extents and strides."""
    for value in arguments:
        if isinstance(value, np.ndarray):
            yield from (None, None, value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides)
        elif type(value) is tuple:
            yield from _flat(value)
        else:
            yield value
