"""docs/cluster.md and its files: they parse, and name what there is."""
import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from training import multi_worker
from training.command_line import RunFlags

ROOT = Path(__file__).parents[2]
SLURM, MANIFEST = ROOT / "docs/cluster/slurm.sh", ROOT / "docs/cluster/kubernetes.yaml"
PAGE = ROOT / "docs/cluster.md"


def test_the_job_script_is_bash():
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    assert subprocess.run(["bash", "-n", SLURM]).returncode == 0


def test_each_worker_of_the_manifest_finds_its_place():
    yaml = pytest.importorskip("yaml")
    service, policy, job = yaml.safe_load_all(MANIFEST.read_text())
    assert [part["kind"] for part in (service, policy, job)] == ["Service", "NetworkPolicy", "Job"]
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert list(variables) == ["WORKER_INDEX", "TF_CONFIG"]              # $(WORKER_INDEX) needs this order
    name, workers = job["metadata"]["name"], job["spec"]["completions"]
    assert job["spec"]["parallelism"] == workers
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == policy["spec"]["podSelector"]["matchLabels"] == {"job-name": name}
    for index in range(workers):
        text = variables["TF_CONFIG"].replace("$(WORKER_INDEX)", str(index))
        addresses, found = multi_worker.members({"TF_CONFIG": text})
        port = container["ports"][0]["containerPort"]
        assert found == index
        assert addresses == [f"{name}-{other}.{pod['subdomain']}:{port}" for other in range(workers)]


def test_the_flags_and_recipes_that_they_name_exist():
    flags = {"--" + field.name.replace("_", "-") for field in dataclasses.fields(RunFlags)}
    commands = [line for path in (SLURM, MANIFEST, PAGE)
                for line in path.read_text().replace("\\\n", " ").splitlines()
                if re.search(r"command=\(run|recipes (run|resume) ", line)]
    assert len(commands) >= 5
    for line in commands:
        recipe_part = line.split(" -- ")[-1]
        assert set(re.findall(r"(?<!\S)--[a-z-]+", recipe_part)) <= flags, line
        for recipe in re.findall(r"recipes run (\w+)", recipe_part):
            assert list((ROOT / "recipes").rglob(f"{recipe}.py")), recipe


def test_the_page_tells_the_constants_and_links_as_they_are():
    text = PAGE.read_text()
    assert f"about {multi_worker.PEER_TIMEOUT} seconds" in text
    assert f"{multi_worker.JOIN_TIMEOUT // 60} minutes (`JOIN_TIMEOUT`)" in text
    assert f"status {multi_worker.LOST_PEER_STATUS}" in text
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (PAGE.parent / link).exists()
    example = re.search(r"TF_CONFIG='(.*)'", text).group(1)
    assert multi_worker.members({"TF_CONFIG": example}) == (json.loads(example)["cluster"]["worker"], 0)
