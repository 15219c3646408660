"""The README and the pages of `docs/` as a user follows them: each seti-tune command runs, in order, on small files."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import made_galaxies
import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from PIL import Image
from sky_inputs import write_cutouts, write_sky_inputs
from spectra_files import write_fil

from search_spaces.space import load_space, shipped_spaces
from tune.cli.main import parse

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
INDEX = (DOCS / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *(DOCS / name for name in re.findall(r"\]\(([a-z/-]+\.md)\)", INDEX))]


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", text(page), flags=re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]


def write_inputs(folder: Path) -> None:
    """What the user of the pages has: an archive, CSV files, pictures, and the files that are printed there."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (60, 64, 128), dtype=np.uint8)
    np.savez(folder / "mine.npz", x=images, y=np.arange(60) % 4, class_names=np.array(["a", "b", "c", "d"]))
    for split, n in (("train", 40), ("validation", 20)):
        (folder / split).mkdir()
        pixels = rng.integers(0, 256, (n, 64 * 128)) / 255
        np.savetxt(folder / split / "images.csv", pixels, fmt="%.6f", delimiter=",")
        np.savetxt(folder / split / "labels.csv", np.eye(4)[np.arange(n) % 4], fmt="%.2e", delimiter=",")
    for i, image in enumerate(images[:20]):
        (folder / "my_images" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "my_images" / "ab"[i % 2] / f"{i}.png")
    (folder / "my_files").mkdir()
    for i, image in enumerate(images[:20]):
        fits.PrimaryHDU(image.astype(np.float32)).writeto(folder / "my_files" / f"{i}.fits")
    (folder / "labels.csv").write_text("file,class\n" + "".join(f"{i}.fits,{'ab'[i % 2]}\n" for i in range(20)))
    write_spectra(folder)
    galaxies, types = made_galaxies.galaxies(60, 1)
    galaxies = np.pad(galaxies, ((0, 0), (17, 16), (17, 16)), constant_values=20)  # room for the study's crop
    names = np.array(made_galaxies.CLASSES)
    np.savez(folder / "galaxies.npz", x=galaxies, y=types, class_names=names, groups=np.arange(60))
    for page in PAGES:
        printed = r"```(?:toml|python)\n# ([a-z_-]+\.(?:toml|py))\n(.*?)```"
        for name, content in re.findall(printed, text(page), flags=re.DOTALL):
            (folder / name).write_text(content, encoding="utf-8")
    write_sky_inputs(folder)
    write_cutouts(folder)
    # `make search` takes minutes; what it leaves is stood in for by the run of the README's study.
    (folder / "runs").mkdir()
    (folder / "runs" / "quickstart").symlink_to("study")


def write_spectra(folder: Path) -> None:
    """Three nights and three days with the table that is printed, for time series without places."""
    rng = np.random.default_rng(2)
    table = next(block for block in re.findall(r"```text\n(file,.*?)```", text(DOCS / "your-own-data.md"), re.DOTALL))
    (folder / "nights.csv").write_text(table)
    rows = ["file,class,split,row,channel"]
    for n, split in enumerate(("train", "validation", "test"), 1):
        rows += [f"day{n}.dat,noise,{split},0,0", f"day{n}.dat,tone,{split},64,0"]
        write_fil(folder / f"night{n}.fil", rng.exponential(1e5, (256, 1100)).astype(np.float32))
        rng.normal(0, 13, (128 * 512, 2)).astype(np.int8).tofile(folder / f"day{n}.dat")
    (folder / "days.csv").write_text("\n".join(rows) + "\n")


def run_pages(folder: Path, pages: list[Path]) -> dict[str, str]:
    """Run every command of the pages in one folder; return what each kind of command said last."""
    write_inputs(folder)
    said = {}
    for page, command in [(each, command) for each in pages for command in commands(each)]:
        program, *arguments = shlex.split(command)
        if program == "make":
            targets = re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), flags=re.MULTILINE)
            assert arguments[0] in targets, command
            continue
        assert program == ".venv/bin/seti-tune", command
        started = [sys.executable, "-m", "tune.cli.main", *arguments]
        done = subprocess.run(started, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{page.name}: {command}\n{done.stderr}"
        said[arguments[0]] = done.stdout
    return said


def test_the_readme_runs_as_written(tmp_path: Path) -> None:
    said = run_pages(tmp_path, PAGES[:1])
    assert len(commands(PAGES[0])) >= 20
    for name in ("report.md", "report.html", "leaderboard.csv", "epochs.csv", "events.jsonl", "receipts/0001.json"):
        assert (tmp_path / "runs" / "study" / name).exists(), name
    for name in ("model.keras", "saved_model/class_names.txt", "model_card.md", "receipt.json"):
        assert (tmp_path / "runs" / "study" / "final" / name).exists(), name
    assert "identical" in said["retrain"]
    assert "finished: all trials ended" in said["status"]
    best = pd.read_csv(tmp_path / "runs" / "study" / "leaderboard.csv").iloc[0]
    assert best["objective_low"] < best["objective"] < best["objective_high"]
    assert bool(best["tied"]), "a network's trials tell which validation images they had right"
    uses = [json.loads(line) for line in (tmp_path / "data" / "small" / "test_uses.jsonl").read_text().splitlines()]
    assert {(use["what"], use["run"]) for use in uses} == {("finals", "study")}, (
        "evaluate and predict need no test split"
    )
    assert (tmp_path / "predictions.csv").read_text().count("\n") == 61


@pytest.mark.slow
def test_the_page_on_a_network_and_a_step_of_ones_own_runs_as_written(tmp_path: Path) -> None:
    said = run_pages(tmp_path, [DOCS / "your-own-network.md"])
    assert "dense_2 (Dense)" in said["train"]
    assert "identical" in said["retrain"]
    board = pd.read_csv(tmp_path / "runs" / "families" / "leaderboard.csv")
    own = board[board["network.family"] == "my_networks:Strips"]
    assert len(own) >= 2
    assert own["Strips.hidden"].notna().all()
    assert board[board["network.family"] == "course"]["Strips.hidden"].isna().all()
    assert board["stretch.softness"].nunique() > 1
    assert (tmp_path / "classes.csv").read_text().count("\n") == 49
    # Without its step, or with another one, the model says what is missing.
    model = [
        sys.executable,
        "-m",
        "tune.cli.main",
        "evaluate",
        str(tmp_path / "runs" / "families" / "final" / "model.keras"),
    ]
    module = tmp_path / "my_steps.py"
    module.write_text(module.read_text() + "\n")
    for folder, message in ((tmp_path, "the source has digest"), (tmp_path / "data", "ModuleNotFoundError")):
        done = subprocess.run(
            [*model, tmp_path / "data" / "lines"], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_page_on_radio_galaxies_runs_as_written(tmp_path: Path) -> None:
    run_pages(tmp_path, [DOCS / "tasks" / "radio-galaxies.md"])
    board = pd.read_csv(tmp_path / "runs" / "galaxies" / "leaderboard.csv")
    assert set(board["network.family"]) == {"alhassan", "aniyan"}
    assert (tmp_path / "galaxies.csv").read_text().count("\n") == 61
    assert (tmp_path / "second" / "model.keras").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_page_runs_as_written_after_the_readme(tmp_path: Path) -> None:
    said = run_pages(tmp_path, PAGES)
    assert json.loads(said["status"])["is_finished"] is True
    assert "identical" in said["retrain"]


def test_make_search_is_the_search_that_the_small_run_stands_in_for() -> None:
    assert "search quickstart" in text(ROOT / "Makefile")


def test_the_index_names_every_page() -> None:
    assert {*PAGES[1:], DOCS / "README.md"} == {*DOCS.rglob("*.md")}


def test_no_two_pages_make_the_same_data_set() -> None:
    lines = [line.split() for page in PAGES for line in commands(page)]
    made = [words[3] for words in lines if words[1] == "data" and words[2] in ("import", "simulate")]
    assert len(made) > 10
    assert len(made) == len(set(made))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_block_is_run_or_marked(page: Path) -> None:
    """A command line of ours outside a console block would be tested by nobody; `text` is the mark."""
    languages = re.findall(r"^```([a-z]*)\n.*?^```$", text(page), flags=re.MULTILINE | re.DOTALL)
    assert set(languages) <= {"console", "python", "text", "toml"}
    assert all(command.split()[0] in ("make", ".venv/bin/seti-tune") for command in commands(page))


def test_every_command_that_no_test_runs_has_options_that_exist() -> None:
    blocks = [block for page in PAGES for block in re.findall(r"```text\n(.*?)```", text(page), flags=re.DOTALL)]
    lines = [line for block in blocks for line in re.findall(r"\bseti-tune (.*?)(?:[;#]|$)", block, flags=re.MULTILINE)]
    assert len(lines) > 5
    for line in lines:
        assert parse(shlex.split(line)).run, line


@pytest.mark.parametrize("page", [*PAGES, DOCS / "README.md"], ids=lambda page: f"{page.parent.name}-{page.name}")
def test_every_link_and_picture_leads_somewhere(page: Path) -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)", text(page)) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []
    assert [t for t in targets if t.endswith(".png") and (page.parent / t).stat().st_size > 200_000] == []


@pytest.mark.parametrize("page", [*PAGES, DOCS / "README.md"], ids=lambda page: f"{page.parent.name}-{page.name}")
def test_every_file_of_ours_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(
        r"`((?:tests|tune|results|seti_model|search_spaces|examples|benchmarks|docs)/[\w./-]+)`", text(page)
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_the_generated_parts_of_a_page_are_what_the_sources_say(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    import generate

    assert generate.generated(text(page)) == text(page), "run: python docs/generate.py"


def test_every_key_of_a_study_has_a_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    import generate

    sections = {**generate.study.SECTIONS, **generate.CONFIGURATION}
    silent = [
        (section, key) for section, cls in sections.items() for key, words in generate._comments(cls) if not words
    ]
    assert silent == [], "a comment at the end of the line, or above it"
    for page, count in (("study-file.md", len(generate.study.SECTIONS)), ("spaces.md", 1)):
        assert text(DOCS / page).count(generate.HEADER[0]) == count


def test_the_shipped_spaces_have_as_many_parameters_as_the_page_says() -> None:
    said = dict(re.findall(r"^\| `([a-z_]+)` \| (\d+) \|", text(DOCS / "spaces.md"), flags=re.MULTILINE))
    assert said == {name: str(len(load_space(name).parameters)) for name in shipped_spaces()}
