"""The shape of the repository: which module may import which, and what no file may hold."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

# Who stands lower may not import who stands higher; modules of one rank may import each other.
# A module is found by its longest prefix.
RANKS = {
    "edgeq.errors": 0,
    "edgeq.files": 0,
    "edgeq.jit": 1,
    "edgeq.arith": 2,
    "edgeq.arith_jit": 2,
    "edgeq.fixed_point": 2,
    "edgeq.graph": 3,
    "edgeq.board": 3,
    "edgeq.ops": 4,
    "edgeq.float_run": 5,
    "edgeq.importers": 5,
    "edgeq.exporters": 5,
    "edgeq.passes": 5,
    "edgeq.samples": 5,
    "edgeq.sample_files": 5,
    "edgeq.auto_quantize": 5,
    "edgeq.scheme": 5,
    "edgeq.grids": 5,
    "edgeq.calibrate": 5,
    "edgeq.calibration": 5,
    "edgeq.correction": 5,
    "edgeq.quantize": 5,
    "edgeq.memory": 5,
    "edgeq.interpreter": 5,
    "edgeq.model_file": 5,
    "edgeq.digest": 5,
    "edgeq.data": 5,
    "edgeq.evaluate": 5,
    "edgeq.explain": 5,
    "edgeq.explain_rounding": 5,
    "edgeq": 6,  # the package itself: what it offers to its users
    "firmware_gen": 6,
    "edgeq.analysis": 7,
    "edgeq.qat": 7,
    "edgeq.emulator": 7,
    "edgeq.stream": 7,
    "edgeq.report": 8,
    "edgeq.demo": 8,
    "edgeq.cli": 9,
    "edgeq.__main__": 9,
}
LONGEST_FILE = 400  # lines


def rank(module: str) -> int | None:
    """Of a module of ours; None if it has no place yet."""
    name = module
    while name not in RANKS or (name == "edgeq" and module != "edgeq"):
        name, _, last = name.rpartition(".")
        if not last or not name:
            return None
    return RANKS[name]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> list[Path]:
    return sorted(p for top in ("edgeq", "firmware_gen") for p in (ROOT / top).rglob("*.py"))


def tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in listing.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def text_of(path: Path) -> str:
    """Of a text file; nothing of a binary one."""
    data = path.read_bytes()
    return "" if b"\0" in data else data.decode("utf-8", errors="replace")


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def imports(path: Path) -> list[tuple[str, int, bool]]:
    """(module, line, whether it waits until it is used) of each import of ours in the file.

    Those in a function wait; those under `if TYPE_CHECKING` never happen.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for child in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if is_module(name) else str(node.module) for name in whole]
        ours = (name for name in names if name.split(".")[0] in ("edgeq", "firmware_gen"))
        found += [(name, node.lineno, id(node) in late) for name in ours]
    return found


def test_every_module_has_a_place() -> None:
    homeless = [module_name(p) for p in sources() if rank(module_name(p)) is None]
    assert not homeless, f"give them a rank in {Path(__file__).name}: {homeless}"


def test_imports_go_down() -> None:
    wrong = []
    for path in sources():
        here = module_name(path)
        for name, line, _ in imports(path):
            if name != here and (rank(name) or 0) > (rank(here) or 0):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {here} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_only_the_command_line_and_the_demo_reach_for_firmware_gen_when_they_use_it() -> None:
    wrong = []
    for path in sources():
        here = module_name(path)
        for name, line, is_late in imports(path):
            if not here.startswith("edgeq") or not name.startswith("firmware_gen"):
                continue
            if not is_late or not here.startswith(("edgeq.cli", "edgeq.demo")):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {here} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_only_jit_calls_numbas_compilers() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in sources()
        if path != ROOT / "edgeq" / "jit.py"
        and re.search(
            r"\b(njit|cfunc|guvectorize)\b|@(numba\.)?(jit|vectorize)\b", text_of(path)
        )
    ]
    assert not wrong, wrong


def test_no_file_is_longer_than_400_lines() -> None:
    too_long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked()
        if path.suffix in (".py", ".c", ".h") and "golden" not in path.parts
        if (lines := len(text_of(path).splitlines())) > LONGEST_FILE
    }
    assert not too_long, too_long


# Each pattern is written so that it does not match itself.
FORBIDDEN = {
    "a path of one machine": r"(?<![\w./-])/(?:wor[k]|hom[e]/\w+|roo[t])(?=[/\s\"'`:,;)]|$)",
    "a package registry": r"pypi\.or[g]|pythonhosted\.or[g]|index-ur[l]|find-link[s]",
    "something unfinished": r"\b(?:TOD[O]|FIXM[E]|XX[X]|raise NotImplementedErro[r])\b",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_holds(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what], re.MULTILINE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in tracked()
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a path of one machine", "see /wor" + "k/main"),
        ("a path of one machine", 'PATH = "/hom' + 'e/somebody/x"'),
        ("a path of one machine", "HOME=/roo" + "t"),
        ("a package registry", "https://pypi.or" + "g/simple"),
        ("something unfinished", "raise NotImplementedErro" + "r"),
        ("something unfinished", "# TOD" + "O: later"),
    ],
)
def test_the_patterns_find_what_they_are_for(what: str, line: str) -> None:
    assert re.search(FORBIDDEN[what], line)
