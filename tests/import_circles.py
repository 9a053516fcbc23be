"""Circles among the modules of a crate, and among the files of the console.

A module and the modules below it are one unit to a reader, so what they use of each other does not count. An item that
is reached through a re-export counts for the module that defines it.
"""

import re
from pathlib import Path

USE = re.compile(r"\buse\s+((?:crate|super|self|[a-z_]\w*)(?:::[^;]*)?);", re.DOTALL)
INLINE = re.compile(r"\b((?:crate|super)(?:::\w+)+)")
RE_EXPORT = re.compile(r"\bpub(?:\([^)]*\))?\s+use\s+([^;]*);", re.DOTALL)
TESTS = re.compile(r"^#\[cfg\(test\)\]\s*mod tests \{.*", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"//[^\n]*")
IMPORT = re.compile(r"""\b(?:from|import)\s*\(?\s*["'](\.[^"']*)["']""")


def circles_of_crate(src):
    """Each circle as a sorted list of files."""
    modules = {module_path(file, src): file for file in src.rglob("*.rs") if file.parts[-2] != "bin"}
    texts = {path: COMMENT.sub("", TESTS.sub("", file.read_text())) for path, file in modules.items()}
    exports = {path: re_exports(text, path, modules) for path, text in texts.items()}
    edges = {}
    for path, text in texts.items():
        paths = [used for tree in USE.findall(text) for used in flatten(tree)] + [
            tuple(used.split("::")) for used in INLINE.findall(text)]
        found = {resolve(used, path, modules, exports) for used in paths}
        edges[path] = {other for other in found if other is not None and not related(path, other)}
    return [sorted(str(modules[path]) for path in circle) for circle in components(edges)]


def circles_of_console(src):
    files = [file for file in src.rglob("*") if file.suffix in {".ts", ".tsx"}]
    edges = {}
    for file in files:
        named = [(file.parent / name).resolve() for name in IMPORT.findall(file.read_text())]
        edges[file.resolve()] = {path for name in named for path in console_files(name) if path != file.resolve()}
    return [sorted(map(str, circle)) for circle in components(edges)]


def console_files(name):
    candidates = [name, name.with_name(name.name + ".ts"), name.with_name(name.name + ".tsx"), name / "index.ts"]
    if name.suffix == ".js":
        candidates += [name.with_suffix(".ts"), name.with_suffix(".tsx")]
    return [path for path in candidates if path.is_file()][:1]


def module_path(file, src):
    parts = file.relative_to(src).with_suffix("").parts
    return parts[:-1] if parts[-1] in {"mod", "lib", "main"} else parts


def flatten(tree):
    """`a::{b, c::d as e}` as `a::b` and `a::c::d`."""
    tree = re.sub(r"\s+as\s+\w+", "", tree)
    tree = re.sub(r"\s+", "", tree)
    match = re.match(r"([^{]*)\{(.*)\}$", tree, re.DOTALL)
    if not match:
        return [tuple(tree.split("::"))]
    prefix = tuple(part for part in match[1].split("::") if part)
    return [prefix + rest for part in split(match[2]) if part for rest in flatten(part)]


def split(text):
    parts, depth, part = [], 0, ""
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and not depth:
            parts.append(part)
            part = ""
        else:
            part += character
    return [*parts, part]


def absolute(used, path, modules):
    """From the crate's root, or None for another crate."""
    base, used = list(path), list(used)
    if used[0] == "crate":
        return tuple(used[1:])
    if used[0] == "self":
        return tuple(base + used[1:])
    if used[0] == "super":
        while used and used[0] == "super":
            base, used = base[:-1], used[1:]
        return tuple(base + used)
    return tuple(base + used) if tuple(base + used[:1]) in modules else None


def re_exports(text, path, modules):
    """Where each re-exported name is from."""
    found = {}
    for tree in RE_EXPORT.findall(text):
        for used in flatten(tree):
            target = absolute(used, path, modules)
            if target and target[-1] != "*":
                found[target[-1]] = target
    return found


def resolve(used, path, modules, exports, depth=0):
    target = absolute(used, path, modules)
    if target is None or depth > 8:
        return None
    module = target
    while module not in modules:
        if not module:
            return None
        module = module[:-1]
    rest = target[len(module):]
    if rest and rest[0] in exports[module]:
        return resolve(("crate", *exports[module][rest[0]]), path, modules, exports, depth + 1)
    return module


def related(one, other):
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def components(edges):
    """The strongly connected components of more than one node (Tarjan)."""
    order, low, stack, on_stack, found = {}, {}, [], set(), []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        on_stack.add(node)
        for other in edges.get(node, ()):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in on_stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            component = []
            while True:
                component.append(stack.pop())
                on_stack.discard(component[-1])
                if component[-1] == node:
                    break
            if len(component) > 1:
                found.append(component)

    for node in edges:
        if node not in order:
            visit(node)
    return found
