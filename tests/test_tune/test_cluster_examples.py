"""The files of `examples/cluster/`: parsed, and the commands in them have options that exist. Slow tests run two."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import validate_config

from tune.cli.main import parse

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "cluster"


@pytest.mark.parametrize("script", sorted(FOLDER.glob("*.sh")), ids=lambda script: script.name)
def test_a_script_is_one_that_bash_can_read_and_run(script: Path) -> None:
    assert script.stat().st_mode & 0o100
    assert subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=True).stderr == ""


def test_without_a_role_the_script_of_hosts_says_how_it_is_used() -> None:
    done = subprocess.run([FOLDER / "hosts.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "hosts.sh join HEAD     on every other one" in done.stderr


def test_the_options_of_the_queue_end_the_search_and_not_ray() -> None:
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", (FOLDER / "slurm.sh").read_text(), flags=re.MULTILINE))
    assert options["signal"] == "B:TERM@180"
    assert options["ntasks-per-node"] == "1"


def test_the_job_of_kubernetes_has_the_fields_of_its_kind() -> None:
    job = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    # Those of KubeRay's reference that a job with a cluster of its own takes.
    assert set(job["spec"]) <= {
        "entrypoint", "runtimeEnvYAML", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished",
        "rayClusterSpec",
    }  # fmt: skip
    assert yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"] == "60"
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        [container] = pod["containers"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert [mount["name"] for mount in container["volumeMounts"]] == [volume["name"] for volume in pod["volumes"]]
    shared = Path(groups[0]["template"]["spec"]["containers"][0]["volumeMounts"][0]["mountPath"])
    program, *words = shlex.split(job["spec"]["entrypoint"])
    assert program == "seti-tune"
    options = parse(words)
    assert options.run_folder.is_relative_to(shared)
    assert Path(options.study).is_relative_to(shared)


def test_the_file_of_ray_up_is_one_of_rays_own_schema() -> None:
    config = yaml.safe_load((FOLDER / "ray-up.yaml").read_text())
    validate_config(config)
    assert config["head_node_type"] in config["available_node_types"]
    assert all("PATH" in command for command in config["head_start_ray_commands"])


def test_every_command_of_ours_in_the_examples_has_options_that_exist() -> None:
    texts = [path.read_text() for path in FOLDER.iterdir()]
    lines = [line for text in texts for line in re.findall(r"^#  +seti-tune (\w.*)$", text, flags=re.MULTILINE)]
    assert lines
    for line in lines:
        assert parse(shlex.split(line)).run, line
