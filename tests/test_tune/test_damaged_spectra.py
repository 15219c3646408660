"""Two hundred damaged files of spectra: each is one line, exit code 2 and leaves nothing, or is a data set still."""

from __future__ import annotations

import random
import shutil

import pytest
from fuzz import mutations, spectra

from seti_model.data.dataset import Dataset
from tune.cli.main import main

CASES = 100
MUTATORS = {
    "fil": (spectra.in_fil, spectra.in_fil, mutations.damage),
    "h5": (spectra.in_h5, spectra.in_h5, mutations.damage, spectra.in_packed),
}


@pytest.mark.parametrize("kind", MUTATORS)
def test_damaged_files_are_one_line_each_or_still_a_data_set(tmp_path, capfd, kind):
    whole = tmp_path / "whole"
    whole.mkdir()
    spectra.make(whole)
    refused = 0
    for seed in range(CASES):
        rng = random.Random(f"{kind} {seed}")
        folder, out = tmp_path / "in", tmp_path / "out" / "data"
        shutil.copytree(whole, folder)
        done = rng.choice(MUTATORS[kind])(folder / f"{rng.randrange(spectra.FILES)}.{kind}", rng)
        files = [str(folder / f"{number}.{kind}") for number in range(spectra.FILES)]
        words = ["--labels", str(folder / f"{kind}.csv"), "--tile", "16,16", "--rule", "log"]
        code = main(["data", "import", str(out), "--spectra", *files, *words, "--fractions", "0.34,0.33,0.33"])
        said = capfd.readouterr()
        if code == 0:
            assert Dataset.open(out).image_shape == (16, 16, 1), done.label
        else:
            refused += 1
            assert code == 2, done.label
            assert said.err.count("\n") == 1, (done.label, said.err)
            assert said.err.startswith("seti-tune: "), (done.label, said.err)
            assert "; " in said.err, (done.label, said.err)
            assert str(folder) in said.err, (done.label, said.err)
            assert not out.parent.exists() or not list(out.parent.iterdir()), done.label
        shutil.rmtree(folder)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert CASES / 2 < refused < CASES
