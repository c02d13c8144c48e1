"""numba as kobe uses it: `njit`, loaded by the first kernel that is called and not by the first module that has one.

A command that calls none, as one that reads what the evening prepared, starts a third of a second sooner. One that
finds its kernels compiled by an earlier process does without the types and functions that only a compiler must know: a
sixth of a second of Python. One that must compile does without numba's linear algebra, another quarter: numba's array
functions look for BLAS, which imports scipy.linalg, and no kernel of kobe multiplies matrices. While they load, that
import is answered with "not there"; afterwards scipy is as it was. A kernel that wanted `np.dot` would be refused by
the compiler with a clear error.
"""

import atexit
import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import EnumType
from types import FunctionType, ModuleType
from typing import Any, ClassVar, Protocol, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
_BLAS, _ARRAYS = "scipy.linalg.cython_blas", "numba.np.arraymath"


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """Kept machine code ended with a fault; numba knows how to raise it."""


class KeptCode(Protocol):
    """Machine code of kernels that numba made in earlier processes."""

    def find(self, function: FunctionType, arguments: Sequence[Any]) -> Callable[[Sequence[Any]], Any] | None:
        """Return what runs a kernel with such arguments, or None; what is returned raises only `Refused`."""
        ...

    def keep(self, function: FunctionType, dispatcher: Any) -> None:
        """Keep what numba's object for a kernel holds."""
        ...


class Kernel:
    """A function that numba compiles when it is first called, by Python or by another kernel."""

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        """Nothing is loaded until the first call."""
        functools.update_wrapper(self, function)
        self.made = function, options

    @functools.cached_property
    def dispatcher(self) -> Any:
        """Numba's own object for it."""
        function, options = self.made
        return _numba().njit(**options)(function)

    @property
    def _numba_type_(self) -> Any:
        """What the compiler asks of a global that another kernel calls."""
        return self.dispatcher._numba_type_

    def __call__(self, *arguments: Any) -> Any:
        """Call the compiled function: while numba is not loaded, its machine code of an earlier process."""
        if _Shelf.make is not None and "numba" not in sys.modules:
            native = _Shelf.code().find(self.made[0], arguments)
            if native is not None:
                with suppress(Refused):
                    return native(arguments)
        _Shelf.called.add(self)
        return self.dispatcher(*arguments)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "made":
            raise AttributeError(name)
        return getattr(self.dispatcher, name)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        function, _ = self.made
        return _found, (function.__module__, function.__qualname__)


def njit(**options: Any) -> Callable[[F], F]:
    """Make a kernel of a function; the options are numba's."""

    def made(function: F) -> F:
        kernel: Any = Kernel(function, options)
        return kernel  # type: ignore[no-any-return]

    return made


class _Shelf:
    """What kernels of this process have of earlier ones, and which of them numba had to call."""

    make: Callable[[], KeptCode] | None = None
    called: ClassVar[set[Kernel]] = set()

    @staticmethod
    @functools.cache
    def code() -> KeptCode:
        assert _Shelf.make is not None
        return _Shelf.make()


def use(make: Callable[[], KeptCode]) -> None:
    """Let kernels that are called before numba is loaded run as kept, and keep what numba has loaded at the end.

    Args:
        make: returns the kept code; asked by the first kernel that is called.
    """
    if _Shelf.make is None:
        atexit.register(_keep)
    _Shelf.make = make


def _keep() -> None:
    for kernel in _Shelf.called:
        with suppress(Exception):  # what is not kept numba looks up again
            _Shelf.code().keep(kernel.made[0], kernel.dispatcher)


def _found(module: str, name: str) -> Any:
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))


def content(function: FunctionType) -> Iterator[str]:
    """Tell everything a kernel is made of: its bytecode, the values it names, and the kernels it calls, whatever file.

    numba's own cache looks at the kernel's file alone: one whose helper changed in another file would run as it was.
    """
    return _content(function, set())


def _content(function: FunctionType, seen: set[FunctionType]) -> Iterator[str]:
    code = function.__code__
    seen.add(function)
    yield f"{code.co_code.hex()} {code.co_consts!r} {code.co_varnames} {code.co_names}"
    for name in code.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, Kernel):
            called, options = value.made
            yield repr(options)
            if called not in seen:
                yield from _content(called, seen)
        elif isinstance(value, EnumType):
            yield repr(list(value))
        elif value is not None and not isinstance(value, ModuleType | FunctionType):
            yield repr(value)


@functools.cache
def _numba() -> Any:
    import numba
    from numba.core import entrypoints
    from numba.core.caching import Cache

    entrypoints._already_initialized = True  # noqa: SLF001 - else every package there is gets asked for extensions
    plain: Any = Cache._index_key  # noqa: SLF001 - numba has no other way in

    def index_key(cache: Any, signature: Any, codegen: Any) -> tuple[Any, ...]:
        return (*plain(cache, signature, codegen), *content(cache._py_func))  # noqa: SLF001

    setattr(Cache, "_index_key", index_key)  # noqa: B010 - as an assignment it is one to a method
    setattr(Cache, "load_overload", _load_kept)  # noqa: B010
    return numba


def _load_kept(cache: Any, signature: Any, context: Any) -> Any:
    """Load a compiled kernel as numba's own cache does, but prepare for compiling only where there is none."""
    from numba.core.runtime.nrt import rtsys

    rtsys.initialize(context)
    with _without_blas(), cache._guard_against_spurious_io_errors():  # noqa: SLF001 - numba has no other way in
        kept = cache._load_overload(signature, context)  # noqa: SLF001
        if kept is not None:
            return kept
    with _without_blas():
        context.refresh()
    return None


@contextmanager
def _without_blas() -> Iterator[None]:
    modules: dict[str, Any] = sys.modules  # None in it is how Python is told that a module is not there
    if _BLAS in modules or _ARRAYS in modules:
        yield
        return
    modules[_BLAS] = None
    try:
        yield
    finally:
        del modules[_BLAS]
