"""One hash for a function or class and for all that it uses, so that a changed line never meets an old result."""

import ast
import copyreg
import dis
import enum
import functools
import hashlib
import importlib
import importlib.util
import linecache
import sys
import sysconfig
import types
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from course_utils.errors import CourseError
from course_utils.paths import repo_root


def fingerprint(*objects: Any) -> str:
    """Hexadecimal SHA-256 of functions, classes and values, with everything of ours that they use.

    What enters, transitively: the source of functions and methods without comments, formatting and docstrings;
    what their global names, imports, closures and defaults stand for now; base classes, class attributes; the
    content of constants (numbers, arrays, tensors, containers, instances). The walk goes through this package,
    the notebook and any module of the reader's own; installed packages enter by name alone, their versions do
    not. The same code gives the same hash in every process and folder, and in a notebook cell as in the package.

    What is found only while running does not enter: names put together as strings, classes of the arguments,
    environment variables, files. Pass such a thing along as a further object. A global that fills up while the
    program runs, such as a table of past results, gives a new hash each time; `functools.cache` does not.

    Raises
    ------
    CourseError : a constant has no content that could be hashed (a lock, an open file), or a source file is not
        the one that was imported
    """
    walk = _Walk()
    return hashlib.sha256(repr(walk.run(objects)).encode()).hexdigest()


def dependencies(*objects: Any) -> list[str]:
    """Dotted names of the functions, classes, modules and global constants that enter `fingerprint`, sorted."""
    walk = _Walk()
    walk.run(objects)
    return sorted(walk.names)


_SCALARS = (type(None), bool, int, float, complex, str, type(Ellipsis), type(NotImplemented), range)
_BY_OWNER = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
)
# What Python and its class makers put into every class, beside what the author wrote.
_CLASS_NOISE = {
    "__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__abstractmethods__",
    "_abc_impl", "__parameters__", "__orig_bases__", "__firstlineno__", "__static_attributes__", "__annotate__",
    "__annotate_func__", "__annotations_cache__", "__classdictcell__", "__dataclass_fields__",
    "__dataclass_params__", "__match_args__",
}  # fmt: skip
_DATACLASS_METHODS = {
    "__init__", "__repr__", "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__setattr__",
    "__delattr__", "__getstate__", "__setstate__", "__replace__",
}  # fmt: skip
_DATACLASS_FIELD = ("name", "default", "default_factory", "init", "repr", "hash", "compare", "kw_only", "metadata")


class _Walk:
    """Numbers the functions, classes and modules within reach in the order in which they are met.

    Each of them becomes a record: its own content, and the numbers of what it refers to. The list of records is
    the same for two starting points exactly if their graphs are: circles end, and no two things are taken for one
    another because they have the same name.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._numbers: dict[int, int] = {}
        self._queue: list[Any] = []  # also keeps what is numbered alive, so that no id is used twice
        self._open: list[int] = []  # ids of the containers and instances around the present one
        self._place = ""

    def run(self, objects: tuple[Any, ...]) -> tuple:
        """The content of the objects and the records of all that they reach."""
        self._place = "the call of fingerprint()"
        roots, records = [self.content(obj) for obj in objects], []
        while len(records) < len(self._queue):  # a record may add to the queue
            records.append(self._record(self._queue[len(records)]))
        return (*roots, *records)

    def content(self, obj: Any) -> Any:
        """Nested tuples of strings and numbers that stand for ``obj``."""
        if isinstance(obj, _SCALARS):
            if type(obj) in _SCALARS:
                return (type(obj).__name__, repr(obj))
        elif isinstance(obj, (bytes, bytearray, memoryview)):
            return (type(obj).__name__, len(obj), hashlib.sha256(obj).hexdigest())
        elif isinstance(obj, types.ModuleType):
            return ("module", obj.__name__) if _is_installed(obj.__name__) else self._number(obj)
        elif isinstance(obj, type):
            return ("class", _dotted(obj)) if _is_installed(obj.__module__) else self._number(obj)
        elif isinstance(obj, types.FunctionType):
            return self._function(obj)
        if id(obj) in self._open:  # inside itself: how many levels up
            return ("up", len(self._open) - self._open.index(id(obj)))
        self._open.append(id(obj))
        try:
            return self._value(obj)
        finally:
            self._open.pop()

    def _function(self, function: types.FunctionType) -> Any:
        home, code = function.__globals__.get("__name__"), function.__code__
        if not _is_installed(home, code.co_filename):
            return self._number(function)
        if _is_installed(function.__module__) and _found_by_name(function):
            return ("function", _dotted(function))
        # made by a factory of a library, such as a decorator's wrapper: what it was made from counts
        return ("made by", home, code.co_qualname, self._closure(function), self._wrapped(function))

    def _wrapped(self, function: Any) -> Any:
        return self.content(getattr(function, "__wrapped__", None))

    def _closure(self, function: types.FunctionType) -> tuple:
        found = []
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
            try:
                value = cell.cell_contents
            except ValueError:  # not bound yet
                found.append((name,))
            else:
                found.append((name, self.content(value)))
        return tuple(found)

    def _value(self, obj: Any) -> Any:
        kind = type(obj)
        if kind in (list, tuple):
            return (kind.__name__, *map(self.content, obj))
        if kind in (dict, types.MappingProxyType):
            return ("dict", *((self.content(key), self.content(value)) for key, value in obj.items()))
        if kind in (set, frozenset):
            # sorted by what each is on its own: sets come in another order in another process
            return (kind.__name__, *map(self.content, sorted(obj, key=fingerprint)))
        if isinstance(obj, Path):
            within = obj.is_relative_to(repo_root())  # the same wherever the course lies
            return ("path", (obj.relative_to(repo_root()) if within else obj).as_posix())
        if isinstance(obj, types.MethodType):
            return ("method", self.content(obj.__func__), self.content(obj.__self__))
        if isinstance(obj, (types.BuiltinFunctionType, types.MethodWrapperType)):
            owner = obj.__self__
            bound = None if owner is None or isinstance(owner, types.ModuleType) else self.content(owner)
            return ("builtin", getattr(obj, "__module__", None), obj.__qualname__, bound)
        if isinstance(obj, _BY_OWNER):
            return ("builtin", self.content(obj.__objclass__), obj.__name__)
        if isinstance(obj, property):
            return ("property", *map(self.content, (obj.fget, obj.fset, obj.fdel)))
        if isinstance(obj, (staticmethod, classmethod)):
            return (kind.__name__, self.content(obj.__func__))
        if isinstance(obj, functools.cached_property):
            return ("cached_property", self.content(obj.func))
        if isinstance(obj, functools._lru_cache_wrapper):  # what is in the cache does not count
            return ("lru_cache", self._wrapped(obj))
        if isinstance(getattr(obj, "py_func", None), types.FunctionType):  # numba
            return ("numba", self.content(getattr(obj, "targetoptions", None)), self.content(obj.py_func))
        torch = sys.modules.get("torch")
        if torch and isinstance(obj, torch.Tensor) and obj.layout == torch.strided:
            apart = obj.detach().cpu().clone(memory_format=torch.contiguous_format)
            digest = hashlib.sha256(apart.view(-1).view(torch.uint8).numpy()).hexdigest()
            return ("tensor", kind.__name__, str(obj.dtype), tuple(obj.shape), obj.requires_grad, digest)
        return self._rebuilt(obj)

    def _rebuilt(self, obj: Any) -> Any:
        """Any other object is what it says that it can be copied from: its class and its state."""
        try:
            by_type = copyreg.dispatch_table.get(type(obj))
            parts = by_type(obj) if by_type else obj.__reduce_ex__(4)
        except Exception as error:
            raise CourseError(
                f"{self._place} uses a {_dotted(type(obj))}, whose content cannot be hashed ({error}); nobody could "
                "tell when a stored result is out of date. Make it inside the function, or pass it as an argument."
            ) from error
        if isinstance(parts, str):
            return ("global", _dotted(type(obj)), parts)
        make, arguments, state, *items = (*parts, None, None, None)[:5]
        if isinstance(state, dict) and all(isinstance(key, str) for key in state):
            state = dict(sorted(state.items()))  # the order in which attributes were set does not count
        items = [None if part is None else list(part) for part in items]
        return ("object", self.content(make), self.content(arguments), self.content(state), self.content(items))

    def _number(self, obj: Any) -> tuple[str, int]:
        if id(obj) not in self._numbers:
            self._numbers[id(obj)] = len(self._queue)
            self._queue.append(obj)
            self.names.add(_dotted(obj))
        return ("see", self._numbers[id(obj)])

    def _record(self, obj: Any) -> tuple:
        self._place = _dotted(obj)
        if isinstance(obj, type):
            return self._class(obj)
        if isinstance(obj, types.ModuleType):
            return self._module(obj)
        source = _source(obj)
        return (
            source.text,
            self._references(obj, source),
            self._closure(obj),
            self.content(obj.__defaults__),
            self.content(obj.__kwdefaults__),
            self.content(obj.__dict__),
            self.content(_owner(obj)),
        )

    def _class(self, cls: type) -> tuple:
        own = {name: value for name, value in sorted(vars(cls).items()) if name not in _CLASS_NOISE}
        made = ()
        if "__dataclass_fields__" in vars(cls):
            fields = vars(cls)["__dataclass_fields__"].values()
            made = (
                repr(vars(cls)["__dataclass_params__"]),
                *((str(f._field_type), *(self.content(getattr(f, name)) for name in _DATACLASS_FIELD)) for f in fields),
            )
            own = {name: v for name, v in own.items() if name not in _DATACLASS_METHODS or not _is_generated(v)}
        elif issubclass(cls, enum.Enum):
            made = tuple((name, self.content(member.value)) for name, member in cls.__members__.items())
            own = {name: v for name, v in own.items() if isinstance(v, types.FunctionType | property | classmethod)}
        return (
            "class",
            cls.__name__,
            self.content(type(cls)),
            tuple(map(self.content, cls.__bases__)),
            made,
            tuple((name, self.content(value)) for name, value in own.items()),
        )

    def _module(self, module: types.ModuleType) -> tuple:
        """A module that is used as a whole, and not only for one of its names."""
        file = getattr(module, "__file__", None)
        code = (types.FunctionType, type, types.ModuleType)
        used = {name: value for name, value in sorted(vars(module).items()) if isinstance(value, code)}
        return (
            _normal(ast.parse("".join(linecache.getlines(file)))) if file else module.__name__,
            tuple((name, self.content(value)) for name, value in used.items()),
        )

    def _references(self, function: types.FunctionType, source: "_Source") -> tuple:
        """What the names in a function's body stand for."""
        around = function.__globals__
        codes = list(_nested(function.__code__))
        read = {name for code in codes for name in code.co_names} & around.keys()
        local = {name for code in codes for name in code.co_varnames + code.co_cellvars + code.co_freevars}
        if read & local:  # perhaps only an attribute has the name of a global
            read &= _globals_read(codes)
        package = around.get("__package__") or ""
        imported = {name: value for node in source.imports for name, value in _imported(node, package)}
        found = []
        place = self._place
        chains = sorted((name,) for name in read) if source.chains is None else source.chains
        for base, *attributes in chains:
            self._place = f"{place} ({base})"
            if base in read:
                found.append((base, *attributes, self._resolved(around[base], attributes)))
                if not isinstance(around[base], types.FunctionType | type | types.ModuleType):
                    self.names.add(f"{around.get('__name__')}.{base}")
            if base in imported:
                found.append((base, *attributes, self._resolved(imported[base], attributes)))
        self._place = place
        unused = sorted(imported.keys() - {base for base, *_ in chains})  # imported for what the import does
        found += [(name, self.content(imported[name])) for name in unused]
        return tuple(found)

    def _resolved(self, obj: Any, attributes: list[str]) -> Any:
        """Content of ``obj.a.b``: of the first on the way that is no module of ours."""
        for attribute in attributes:
            if not isinstance(obj, types.ModuleType) or _is_installed(obj.__name__):
                break
            if attribute in ("__file__", "__path__", "__spec__", "__doc__"):
                return attribute  # where a module lies does not count
            try:
                obj = getattr(obj, attribute)
            except AttributeError:
                return ("missing", obj.__name__, attribute)
        return self.content(obj)


@dataclass(frozen=True)
class _Source:
    """A function's source in normal form, the dotted names in it, and its import statements."""

    text: Any
    chains: tuple[tuple[str, ...], ...] | None = None  # None: there is no source, the bytecode must do
    imports: tuple[ast.Import | ast.ImportFrom, ...] = ()


def _source(function: types.FunctionType) -> _Source:
    code = function.__code__
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename, function.__globals__))
    if not text:
        return _Source(_bytecode(code))
    codes, nodes = _parsed(text)
    named = codes.get(code.co_qualname, [])
    alike = [other for other in named if _bytecode(other) == _bytecode(code)]
    if not alike:
        loader = getattr(function.__globals__.get("__spec__"), "loader", None)
        if type(loader) is SourceFileLoader:
            raise CourseError(
                f"{code.co_filename} was changed after it was imported: {_dotted(function)} still runs in its old "
                "form, and its results would be taken for those of the new one. Restart the kernel or the program."
            )
        # who loads modules in another way may rewrite them, as pytest does with assert
        alike = [other for other in named if other.co_firstlineno == code.co_firstlineno]
    for other in alike:
        found = nodes.get((other.co_firstlineno, other.co_name), [])
        if code.co_name == "<lambda>":
            found = [node for node in found if _holds(node.body, other)]
        if found:
            return _described(found[-1])  # of lambdas in lambdas the innermost
    return _Source(_bytecode(code))


@functools.lru_cache(maxsize=256)
def _parsed(text: str) -> tuple[dict[str, list[types.CodeType]], dict[tuple[int, str], list[ast.AST]]]:
    """The functions of a file: their code by qualified name, their syntax trees by first line and name."""
    codes: dict[str, list[types.CodeType]] = {}
    for code in _nested(compile(text, "file", "exec", dont_inherit=True)):
        codes.setdefault(code.co_qualname, []).append(code)
    nodes: dict[tuple[int, str], list[ast.AST]] = {}
    for node in ast.walk(ast.parse(text)):  # what is outside comes first
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
            nodes.setdefault((first, node.name), []).append(node)
        elif isinstance(node, ast.Lambda):
            nodes.setdefault((node.lineno, "<lambda>"), []).append(node)
    return codes, nodes


def _holds(body: ast.expr, code: types.CodeType) -> bool:
    """Whether all instructions of a lambda come from this expression; lambdas may share a line."""
    start, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    places = [((line, column), (last, stop)) for line, last, column, stop in code.co_positions() if stop]
    return bool(places) and all(start <= begin and stop <= end for begin, stop in places)


@functools.lru_cache(maxsize=4096)
def _described(node: ast.AST) -> _Source:
    chains, imports, todo = set(), [], [node]
    while todo:
        part = todo.pop()
        attributes: list[str] = []
        if isinstance(part, (ast.Import, ast.ImportFrom)):
            imports.append(part)
        while isinstance(part, ast.Attribute):
            attributes.insert(0, part.attr)
            part = part.value
        if isinstance(part, ast.Name):
            chains.add((part.id, *attributes))
        todo += ast.iter_child_nodes(part)
    return _Source(_normal(node), tuple(sorted(chains)), tuple(imports))


def _normal(node: ast.AST) -> str:
    """Text of a syntax tree that neither comments nor formatting nor docstrings change."""
    out: list[str] = []

    def write(part: Any) -> None:
        if isinstance(part, ast.AST):
            out.append(type(part).__name__)
            for name in part._fields:
                value = getattr(part, name, None)
                if name == "body" and isinstance(part, _WITH_DOCSTRING) and ast.get_docstring(part, False) is not None:
                    value = value[1:]
                # empty fields are left out because newer versions of Python have more of them
                if value is not None and value != [] and not isinstance(value, ast.expr_context):
                    out.append(name)
                    write(value)
            out.append(")")
        elif isinstance(part, list):
            for item in part:
                write(item)
            out.append("]")
        else:
            out.append(repr(part))

    write(node)
    return " ".join(out)


_WITH_DOCSTRING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of a function and of all that is defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def _bytecode(code: types.CodeType) -> tuple:
    """What a code object does, without where it stands."""
    constants = []
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            constants.append(_bytecode(constant))
        elif isinstance(constant, frozenset):
            constants.append(("frozenset", *sorted(map(repr, constant))))
        else:
            constants.append((type(constant).__name__, repr(constant)))
    return (
        code.co_name,
        code.co_code.hex(),
        tuple(constants),
        code.co_names,
        code.co_varnames,
        code.co_cellvars,
        code.co_freevars,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
        code.co_exceptiontable.hex(),
    )


def _globals_read(codes: list[types.CodeType]) -> set[str]:
    """Names that are read as globals; ``co_names`` has those of attributes as well."""
    instructions = (instruction for code in codes for instruction in dis.get_instructions(code))
    return {i.argval for i in instructions if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, Any]]:
    """Names that an import statement in a function binds to something of ours, and what they are bound to."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if _is_ours(alias.name):
                module = importlib.import_module(alias.name)
                top = alias.name.partition(".")[0]
                yield (alias.asname, module) if alias.asname else (top, sys.modules[top])
    else:
        name = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        if _is_ours(name):
            module = importlib.import_module(name)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{name}.{alias.name}")
                yield alias.asname or alias.name, getattr(module, alias.name)


def _owner(function: types.FunctionType) -> type | None:
    """The class in whose body a method stands: methods call each other through ``self``."""
    owner: Any = None
    *path, name = function.__qualname__.split(".")
    for part in path:
        owner = vars(owner).get(part) if isinstance(owner, type) else function.__globals__.get(part)
    return owner if isinstance(owner, type) and vars(owner).get(name) is function else None


def _found_by_name(function: types.FunctionType) -> bool:
    """Whether an installed module has this very function under its name."""
    found: Any = sys.modules.get(function.__module__)
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is function


def _is_generated(value: Any) -> bool:
    """Whether a method of a data class was written by ``dataclass``."""
    if not isinstance(value, types.FunctionType):
        return False
    return value.__code__.co_filename == "<string>" or _is_installed(value.__globals__.get("__name__"))


def _dotted(obj: Any) -> str:
    if isinstance(obj, types.ModuleType):
        return obj.__name__
    return f"{obj.__module__}.{obj.__qualname__}"


def _is_ours(module: str) -> bool:
    """Whether a module that an import statement names is there and not an installed one."""
    top = module.partition(".")[0]
    return (top in sys.modules or importlib.util.find_spec(top) is not None) and not _is_installed(module)


def _is_installed(module: str | None, file: str | None = None) -> bool:
    """Whether a module belongs to Python or to an installed package, and so is known by its name."""
    top = (module or "").partition(".")[0]
    if top in ("course_utils", "__main__"):
        return False
    if top in sys.stdlib_module_names:
        return True
    if top in sys.modules:
        file = getattr(sys.modules[top], "__file__", None) or file
        places = [file] if file else list(getattr(sys.modules[top], "__path__", []))
    else:
        spec = importlib.util.find_spec(top) if top.isidentifier() else None
        file = spec.origin if spec else file
        places = [file] if file else []
    return any(_in_library(place) for place in places)


@functools.cache
def _in_library(file: str) -> bool:
    path = Path(file)
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    return any(path.is_relative_to(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
