import hashlib
import os
import subprocess
import sys

import pytest

from seti_model.errors import ProcessError
from seti_model.runtime import derive_seed, prepare_process, process_setup


def run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, check=False
    )


def test_seed_is_that_of_the_documented_hash_on_every_machine():
    by_hand = int(hashlib.sha256(b'[7,"order",3]').hexdigest()[:8], 16) % 2**31
    assert derive_seed(7, "order", 3) == by_hand


def test_seeds_of_different_purpose_place_or_type_differ():
    seeds = {derive_seed(1, 23), derive_seed(12, 3), derive_seed("1", 23), derive_seed(1, "23"), derive_seed(23, 1)}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_same_set_up_again_is_allowed_another_is_refused():
    assert prepare_process(threads=1) == process_setup()
    with pytest.raises(ProcessError, match=r"already runs with ProcessSetup\(threads=1.*start a new process"):
        prepare_process(threads=2)


def test_impossible_thread_count_is_refused():
    with pytest.raises(ProcessError, match=r"threads=0 lies outside 1\.\.1024"):
        prepare_process(threads=0)
    with pytest.raises(ProcessError, match=r"threads=1025 lies outside 1\.\.1024"):
        prepare_process(threads=1, side_by_side=1025)


def test_absent_gpu_is_an_error_and_nothing_else_is_written_to_standard_error():
    code = """
from seti_model.errors import ProcessError
from seti_model.runtime import prepare_process, process_setup
try:
    process_setup()
except ProcessError as error:
    print(error)
import tensorflow
if tensorflow.config.list_physical_devices("GPU"):
    raise SystemExit("this machine has a GPU")
try:
    prepare_process(1, gpu=True)
except ProcessError as error:
    print(error)
"""
    done = run(code)
    if "has a GPU" in done.stderr:
        pytest.skip("this machine has a GPU")
    assert "call seti_model.runtime.prepare_process first" in done.stdout
    assert "a GPU was asked for and TensorFlow sees none" in done.stdout


def test_set_up_is_quiet_and_training_functions_run_on_the_threads_asked_for():
    code = """
from seti_model.runtime import prepare_process
prepare_process(3)
import tensorflow as tf
tf.constant(1.0) + 1
print(tf.config.threading.get_intra_op_parallelism_threads(), tf.config.threading.get_inter_op_parallelism_threads())
"""
    done = run(code)
    assert (done.stdout.split(), done.stderr) == (["3", "1"], "")


def test_tensorflow_already_started_with_other_threads_is_refused():
    code = """
import tensorflow as tf
tf.constant(1.0) + 1
from seti_model.runtime import prepare_process
prepare_process(1)
"""
    assert "ProcessError: TensorFlow was started before its 1 threads could be set" in run(code).stderr
