"""The house rules as tests: sizes, directions of imports, who may print and write, what files may say.

The reasons stand in docs/design.md. A rule that hinders a better program is changed here, with a reason,
and not evaded elsewhere.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "leec"
MODULES = sorted(PACKAGE.rglob("*.py"))
TEMPLATES = sorted((PACKAGE / "emit" / "templates").glob("*"))

LAYERS = (
    {"diagnostics", "dims", "types", "immutable"},
    {"syntax", "ir", "ops"},
    {"elaborate", "passes"},
    {"emit", "render", "proof", "runtime"},
    {"driver"},
    {"api", "arguments", "execution"},
    {"cli"},
)
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
HOST_PARTS = ("cli", "runtime")  # the only parts that print, write and exit
CACHES = ("leec/syntax/grammar.py",)  # modules that keep what they computed in the user's cache, and nothing else
LONGER = {"leec/syntax/nodes.py": 430, "leec/dims.py": 310}  # declarations that read best as one list; may shrink


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def part(path: Path) -> str:
    """The part of the compiler a module belongs to: `leec/ir/graph.py` is of `ir`, `leec/dims.py` is `dims`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{name(path)}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1


def strings(path: Path) -> Iterator[ast.Constant]:
    """The string literals of a module that are not docstrings."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """The absolute names a module imports, wherever in it, with their lines."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}:{node.lineno}: imports are absolute"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


@cache
def tracked() -> list[Path]:
    """The files of the project: what git knows, or everything in a copy without git."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return [path for path in (ROOT / line for line in done.stdout.split("\0") if line) if path.exists()]
    return [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts]


# ---- sizes


def test_no_function_is_long() -> None:
    everything = sorted(((n, f) for path in MODULES for f, n in functions(path)), reverse=True)
    middle = median(n for n, _ in everything)
    longest = "\n".join(f"{n:4} {f}" for n, f in everything[:12])
    assert everything[0][0] <= 60, f"functions have at most 60 lines; the longest:\n{longest}"
    assert middle <= 8, f"the median function has {middle} lines and should have 8; the longest:\n{longest}"


def test_no_file_is_long() -> None:
    lengths = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    long = {file: n for file, n in lengths.items() if n > LONGER.get(file, 300)}
    assert not long, f"files have at most 300 lines: {long}"
    assert all(lengths[file] > 300 for file in LONGER), "a file of LONGER needs no exception any more"


def test_templates_only_give_the_shape_of_a_file() -> None:
    for path in TEMPLATES:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 60, f"{name(path)} has over 60 lines"
        assert text.count("{%") <= 16, f"{name(path)} has {text.count('{%')} tags: compute it in leec/emit"
        computing = re.findall(r"\{%-?\s*(?:set|macro|call|filter|import|include)\b|\{\{[^}]*[(+*/][^}]*\}\}", text)
        assert not computing, f"{name(path)} computes: {computing}"


# ---- directions


def test_imports_run_one_way() -> None:
    homeless = {part(path) for path in MODULES} - RANK.keys() - {"__init__", "__main__"}
    assert not homeless, f"give these a layer in LAYERS: {sorted(homeless)}"
    wrong = [
        f"{name(path)}:{line} imports {imported}"
        for path in MODULES
        if part(path) not in ("__init__", "__main__", "runtime")
        for imported, line in imports(path)
        if imported.startswith("leec.") and (above := imported.split(".")[1]) != "__version__"
        if RANK.get(above, len(LAYERS)) > RANK[part(path)]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_runtime_knows_nothing_of_the_compiler() -> None:
    wrong = [
        f"{name(path)}:{line} imports {imported}"
        for path in MODULES
        if part(path) == "runtime"
        for imported, line in imports(path)
        if imported.startswith("leec.") and imported.split(".")[1] not in ("runtime", "__version__")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", ["leec", "leec.cli"])
def test_importing_leec_is_light(module: str) -> None:
    heavy = ("torch", "black", "numpy", "sklearn", "jinja2", "lark", "rich.console")
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- one place for each thing


def test_only_the_border_prints_and_writes() -> None:
    wrong = [
        f"{name(path)}:{node.lineno}"
        for path in MODULES
        if part(path) not in HOST_PARTS and name(path) not in CACHES
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.Call) and (prints(node) or writes(node))) or is_standard_stream(node)
    ]
    assert not wrong, f"printing and writing belong to leec/cli and leec/runtime: {wrong}"


def prints(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id in ("print", "input")


def writes(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Attribute) and call.func.attr in ("write_text", "write_bytes"):
        return True
    opens = isinstance(call.func, ast.Name | ast.Attribute) and ast.unparse(call.func).split(".")[-1] == "open"
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    modes = [v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)]
    return opens and any(re.fullmatch(r"[rwaxbt+]*[wax+][rwaxbt+]*", mode) for mode in modes)


def is_standard_stream(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr", "sys.stdin")


def test_no_pass_and_no_emitter_names_an_op() -> None:
    """What a pass needs to know about an op is a fact of its row. Structure (calls, loops) is not an op.

    Neither are a name of Python in a tree that an emitter builds, `ast.Name("slice")`, parts of a name that is put
    together, and the names of the facts themselves.
    """
    from leec.ops import TABLE

    allowed = tomllib.loads((Path(__file__).parent / "op_names_allowed.toml").read_text(encoding="utf-8"))
    facts = {fact for row in TABLE.values() for fact in row.facts}
    rows = {op for op, row in TABLE.items() if row.type.__module__ != "leec.ops.control"} - facts
    found = {
        (name(path), node.value): node.lineno
        for path in MODULES
        if part(path) in ("passes", "emit")
        for node in strings(path)
        if node.value in rows and id(node) not in other_words(path)
    }
    listed = {(path, op) for path, ops in allowed.items() for op in ops}
    wrong = [f'{path}:{line} says "{op}"' for (path, op), line in found.items() if (path, op) not in listed]
    assert not wrong, "\n".join(wrong)
    assert not listed - found.keys(), f"no longer needed in op_names_allowed.toml: {sorted(listed - found.keys())}"


@cache
def other_words(path: Path) -> set[int]:
    """The literals that are names of Python or stand within an f-string."""
    nodes = list(ast.walk(tree(path)))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    python = [arg for call in calls if ast.unparse(call.func) in ("ast.Name", "ast.Attribute") for arg in call.args]
    texts = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    return {id(node) for node in [*python, *(inner for text in texts for inner in ast.walk(text))]}


def test_no_text_is_read_as_markup() -> None:
    wrong = [name(p) for p in MODULES if re.search(r"from_markup|rich\.markup|markup=True", p.read_text("utf-8"))]
    assert not wrong, f"shapes are square brackets, and markup would swallow them: {wrong}"


# ---- words


def test_every_module_says_what_it_promises() -> None:
    silent = [name(path) for path in MODULES if tree(path).body and not ast.get_docstring(tree(path))]
    assert not silent, f"without a docstring: {silent}"


def test_files_have_names_of_the_field() -> None:
    vague = [
        name(p) for p in MODULES if p.stem in ("utils", "util", "helper", "helpers", "info", "tmp", "misc", "common")
    ]
    assert not vague


def test_nothing_depends_on_one_machine() -> None:
    place = re.compile(r"(?<![\w.])/(?:work|tmp)\b|pypi\.org|pythonhosted\.org|download\.pytorch\.org|anaconda\.org")
    found = []
    for path in tracked():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [f"{name(path)}:{n}: {line.strip()}" for n, line in enumerate(lines, 1) if place.search(line)]
    assert not found, "\n".join(found)
