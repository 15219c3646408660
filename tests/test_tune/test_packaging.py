"""What is installed: the wheel holds four packages and their TOML files; the lock works with any index."""

import ast
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy, so that no build folder is left in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, files):
        if (ROOT / name).is_file():
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", out, copy]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "mlflow": "mlflow-skinny"}  # named otherwise than imported


def test_every_module_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(name for extra in extras if extra != "dev" for name in extras[extra])]
    declared = {re.split(r"[\[<>=]", requirement)[0] for requirement in wanted}
    packages = {"tune", "search_spaces", "seti_model", "results"}
    imported = {name for package in packages for file in (ROOT / package).rglob("*.py") for name in imports(file)}
    foreign = {name for name in imported if name not in packages | sys.stdlib_module_names}
    assert {DISTRIBUTIONS.get(name, name.lower()) for name in foreign} <= declared
    assert len(foreign) > 10


def imports(file: Path) -> set[str]:
    """The first parts of the names of all modules that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def test_the_wheel_holds_exactly_our_packages_and_their_declarations(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"tune", "search_spaces", "seti_model", "results"}
    for needed in (
        "tune/studies/quickstart.toml",
        "search_spaces/baseline.toml",
        "results/py.typed",
        "results/report/templates/report.js",
    ):
        assert needed in names
    assert not [name for name in names if "tests" in name]
    ours = {file.parent for package in tops for file in (ROOT / package).rglob("*.py")}
    assert {str(folder.relative_to(ROOT)) for folder in ours} == {
        str(Path(name).parent) for name in names if name.endswith(".py")
    }


def test_the_installed_wheel_runs_a_command_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    scheme = {"base": str(tmp_path / "venv"), "platbase": str(tmp_path / "venv")}
    target = Path(sysconfig.get_path("purelib", vars=scheme))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run(install, check=True, capture_output=True)
    # Dependencies come from the environment of the tests; our own packages must not.
    (target / "dependencies.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")) + "\n")
    code = "from tune.cli.main import main; import sys; sys.exit(main(['search', 'course', '--dry-run']))"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "study course: 24 trials" in done.stdout
    where = subprocess.run(
        [python, "-c", "import tune; print(tune.__file__)"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert where.stdout.startswith(str(tmp_path))


def test_every_locked_package_has_hashes_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert not re.search(r"^-", text, flags=re.MULTILINE), "an option of pip stands in the lock"
    blocks = re.split(r"\n(?=[a-z])", text)
    assert all("--hash=sha256:" in block for block in blocks if "==" in block)


def test_the_lock_holds_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE))
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    assert {re.split(r"[\[<>=~]", name)[0] for name in wanted} <= locked


def test_without_the_extras_every_command_starts_and_a_missing_one_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "sky" / "a").mkdir(parents=True)
    (tmp_path / "sky" / "b").mkdir()
    for name in ("a", "b"):
        (tmp_path / "sky" / name / "0.fits").write_bytes(b"SIMPLE")
    (tmp_path / "objects.csv").write_text("name,ra,dec,class\nx,10,20,a\n")
    absent = "'astropy', 'astroquery', 'pyvo', 'hdf5plugin', 'mlflow', 'IPython'"
    code = (
        f"import sys; sys.modules.update(dict.fromkeys(({absent})))\nfrom tune.cli.main import main; sys.exit(main())"
    )
    for words, returncode, said in (
        (["--help"], 0, ""),
        (["data", "import", "--help"], 0, ""),
        (["scan", "--help"], 0, ""),
        (
            ["data", "import", "out", "--folder", "sky", "--fractions", "0.6,0.2,0.2"],
            2,
            "pip install 'seti-tune[fits]'",
        ),
        (
            ["data", "fetch", "--survey", "first", "--catalogue", "objects.csv", "o"],
            2,
            "pip install 'seti-tune[fetch]'",
        ),
    ):
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == returncode, done.stderr
        assert "Traceback" not in done.stderr
        assert said in (done.stderr.splitlines() or [""])[-1]
