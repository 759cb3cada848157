"""The arrows of the design: who may import whom."""
import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"recipes", "models", "tuning", "pipelines", "training", "probes", "benchmarks"}
ALLOWED = {
    "recipes": {"models", "pipelines", "training", "probes"},
    "tuning": {"recipes", "tuning", "training"},
    "models": {"models"},
    "probes": {"probes"},
    "training": {"training"},
    "pipelines": {"pipelines"},
}


def imported(path):
    """(module, line) of every import in a file, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: imports are absolute here"
            yield node.module, node.lineno


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_imports_point_one_way(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        command_line = folder == "recipes" and path.parent == ROOT / "recipes"
        for module, line in imported(path):
            top = module.split(".")[0]
            allowed = ALLOWED[folder] | ({"recipes"} if command_line else set())
            assert top not in OURS - allowed, f"{path.relative_to(ROOT)}:{line} imports {module}"


KERNELS = {"hoisted_lstm.py"}    # written for one backend, and a layer of Keras on the others


def test_models_use_keras_alone():
    for path in sorted((ROOT / "models").rglob("*.py")):
        at_import = {node.lineno for node in ast.parse(path.read_text()).body}
        for module, line in imported(path):
            if path.name in KERNELS and line not in at_import:           # inside a function of that backend
                continue
            top = module.split(".")[0]
            assert top not in {"tensorflow", "torch", "jax"}, f"{path}:{line} imports {module}"
