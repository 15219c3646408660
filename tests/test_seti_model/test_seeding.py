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


def test_set_up_is_quiet_imports_nothing_that_draws_and_functions_run_on_the_threads_asked_for():
    code = """
from seti_model.runtime import prepare_process
prepare_process(3)
import sys, tensorflow as tf
tf.constant(1.0) + 1
print(tf.config.threading.get_intra_op_parallelism_threads(), tf.config.threading.get_inter_op_parallelism_threads())
print([name for name in ("matplotlib", "sklearn", "scipy", "IPython") if name in sys.modules])
"""
    done = run(code)
    assert (done.stdout.splitlines(), done.stderr) == (["3 1", "[]"], "")


def test_packages_left_out_are_absent_to_the_importing_thread_alone_and_there_afterwards():
    code = """
import gc, sys, threading
from seti_model.runtime import importing
def draw():
    import matplotlib
with importing(without=["matplotlib", "json"]):
    import json.tool
    try:
        import matplotlib.ticker
    except ModuleNotFoundError as error:
        print(error, gc.isenabled())
    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
    print("matplotlib" in sys.modules)
print(gc.isenabled(), [finder for finder in sys.meta_path if "seti_model" in type(finder).__module__])
import matplotlib.ticker, sklearn
"""
    done = run(code)
    assert (done.stdout.splitlines(), done.stderr) == (["No module named 'matplotlib' False", "True", "True []"], "")


def test_tensorflow_already_started_with_other_threads_is_refused():
    code = """
import tensorflow as tf
tf.constant(1.0) + 1
from seti_model.runtime import prepare_process
prepare_process(1)
"""
    assert "ProcessError: TensorFlow was started before its 1 threads could be set" in run(code).stderr
