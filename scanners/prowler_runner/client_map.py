"""Which check reads what which API call fills: read from Prowler's sources, never by running them.

When a call fails in a service module's method, the attributes that this method fills cannot be
trusted, nor what other methods derive from them, nor the checks that read any of these. Names are
compared without types, so the answer errs on the side of too many checks.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

MUTATORS = frozenset({"append", "add", "extend", "update", "insert", "setdefault"})


class Function(NamedTuple):
    """A method of a service module: attributes that it reads and that it fills."""

    reads: frozenset[str]
    writes: frozenset[str]


class Check(NamedTuple):
    """A check: the service modules whose clients it uses, the attributes that it reads there."""

    services: frozenset[str]
    reads: frozenset[str]


class ClientMap(NamedTuple):
    """Everything known of one provider; a service module is named `ec2/ec2_service`."""

    functions: dict[str, dict[str, Function]]
    uses: dict[str, frozenset[str]]  # service module -> the service modules it uses
    checks: dict[str, Check]
    account_wide: frozenset[str]  # service modules that have one endpoint for all regions

    def affected(self, module: str, stack: Iterable[str]) -> set[str]:
        """Checks that may be wrong because a call failed in these methods of a service module.

        Every check that uses the module where the methods are unknown or fill nothing.
        """
        known = self.functions.get(module, {})
        methods = [name for name in stack if name != "__init__" and name in known]
        seeds = frozenset[str]().union(*(known[name].writes for name in methods))
        if not seeds:
            return {name for name, check in self.checks.items() if module in check.services}
        tainted = self._spread(module, seeds)
        return {
            name
            for name, check in self.checks.items()
            if any(check.reads & tainted[used] for used in check.services if used in tainted)
        }

    def _spread(self, module: str, seeds: frozenset[str]) -> dict[str, set[str]]:
        """Attributes, by service module, that derive from the seeds."""
        tainted: dict[str, set[str]] = {module: set(seeds)}
        grew = True
        while grew:
            grew = False
            for name, functions in self.functions.items():
                sources = [tainted[m] for m in (name, *self.uses.get(name, ())) if m in tainted]
                if not sources:
                    continue
                mine = tainted.get(name, set())
                before = len(mine)
                for method, function in functions.items():
                    if method != "__init__" and any(function.reads & s for s in sources):
                        mine |= function.writes
                if len(mine) > before:
                    tainted[name] = mine
                    grew = True
        return tainted


def build_client_map(services: Path) -> ClientMap:
    """Read `prowler/providers/<provider>/services`."""
    clients = _clients(services)
    parsed = {
        path: ast.parse(path.read_bytes()) for path in sorted(services.glob("*/*_service.py"))
    }
    functions, uses, account_wide = {}, {}, set()
    for path, tree in parsed.items():
        module = _name(services, path)
        functions[module] = _functions(tree)
        uses[module] = frozenset(_used(tree, clients)) - {module}
        if _has_global_service(tree):
            account_wide.add(module)
    libraries = {
        path.relative_to(services).with_suffix("").as_posix().replace("/", "."): tree
        for path in sorted(services.glob("*/**/*.py"))
        if path not in parsed and (tree := ast.parse(path.read_bytes())).body
    }
    checks = {}
    for path in sorted(services.glob("*/*/*.metadata.json")):
        name = path.parent.name
        dotted = f"{path.parent.parent.name}.{name}.{name}"
        if dotted in libraries:
            checks[name] = _check(dotted, libraries, clients)
    return ClientMap(functions, uses, checks, frozenset(account_wide))


def _name(services: Path, path: Path) -> str:
    return path.relative_to(services).with_suffix("").as_posix()


def _clients(services: Path) -> dict[str, frozenset[str]]:
    """Client module (`ec2.ec2_client`) -> the service modules whose classes it makes."""
    found = {}
    for path in sorted(services.glob("*/*_client.py")):
        made = {
            "/".join(module.split("."))
            for module in _imports(ast.parse(path.read_bytes()))
            if module.endswith("_service")
        }
        found[".".join(path.relative_to(services).with_suffix("").parts)] = frozenset(made)
    return found


def _imports(tree: ast.AST) -> Iterator[str]:
    """Modules under `services` that a module imports, as `ec2.ec2_client`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and ".services." in node.module:
            yield node.module.split(".services.", 1)[1]


def _used(tree: ast.AST, clients: dict[str, frozenset[str]]) -> set[str]:
    return {module for name in _imports(tree) for module in clients.get(name, ())}


def _has_global_service(tree: ast.AST) -> bool:
    return any(
        keyword.arg == "global_service"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is True
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
    )


def _check(
    dotted: str, libraries: dict[str, ast.Module], clients: dict[str, frozenset[str]]
) -> Check:
    """A check with all that it imports from checks and libraries beside it."""
    seen: set[str] = set()
    waiting = [dotted]
    services: set[str] = set()
    reads: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in libraries:
            continue
        seen.add(name)
        tree = libraries[name]
        reads |= _reads(tree)
        services |= _used(tree, clients)
        for imported in _imports(tree):
            if imported.endswith("_service"):  # a model of that module, or the module's helpers
                services.add(imported.replace(".", "/"))
            elif imported not in clients:
                waiting.append(imported)
    return Check(frozenset(services), frozenset(reads))


def _functions(tree: ast.Module) -> dict[str, Function]:
    """Every function of a module by name; functions of one name are taken together."""
    found: dict[str, list[ast.AST]] = defaultdict(list)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name].append(node)
    reads: dict[str, set[str]] = defaultdict(set)
    writes: dict[str, set[str]] = defaultdict(set)
    for name, nodes in found.items():
        for node in nodes:
            reads[name] |= _reads(node)
            writes[name] |= _writes(node)
            # `self.call(self._get_policy, self.buckets)`: what is handed to a method it reads, and
            # `self.policy = self._get_policy()`: what is made of its answer it fills.
            for statement in _statements(node):
                mentioned = _reads(statement) & found.keys() - {name}
                for method in mentioned:
                    reads[method] |= _reads(statement) - found.keys()
                    writes[method] |= _writes(statement)
    return {name: Function(frozenset(reads[name]), frozenset(writes[name])) for name in found}


def _statements(function: ast.AST) -> Iterator[ast.AST]:
    """Statements, loops as one, but not a whole `try` or `if`, which may hold unrelated ones."""
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.Try | ast.If | ast.With | ast.ExceptHandler):
            yield from _statements(node)
        elif isinstance(node, ast.stmt):
            yield node


def _reads(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    } | {name for name in _named(tree, "getattr") if name}


def _writes(tree: ast.AST) -> set[str]:
    """Attributes assigned, or whose container is changed."""
    found = {name for name in _named(tree, "setattr") if name}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            found.add(node.attr)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            found |= _innermost(node.value)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in MUTATORS
        ):
            found |= _innermost(node.func.value)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Attribute):
            found.add(node.target.attr)
    return found


def _innermost(node: ast.AST) -> set[str]:
    """`self.trails[region]` and `self.trails` are both `trails`; a local variable is nothing."""
    while isinstance(node, ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
        if isinstance(node, ast.Attribute) and node.attr in MUTATORS | {"get", "values", "items"}:
            node = node.value
    return {node.attr} if isinstance(node, ast.Attribute) else set()


def _named(tree: ast.AST, function: str) -> Iterator[str | None]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == function
            and len(node.args) > 1
        ):
            name = node.args[1]
            yield str(name.value) if isinstance(name, ast.Constant) else None
