"""What the user of the pages on the sky has: tiny disks, regions and cut-outs, with their times and groups."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image
from sky_servers import EDGE, WHOLE, fits_image

SIDE, REGION = 32, 16
# Name, right ascension, class; the last one lies at the edge of its survey.
OBJECTS = [
    *((f"J{1000 + i}+47", 10.05 + i / 100, ("FRI", "FRII")[i % 2]) for i in range(10)),
    ("J2000+47", EDGE + 0.5, "FRI"),
]


def disks(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Disks darkened to the limb, (n, 32, 32), every second frame of three with a bright region; label 0 is active."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    radius = np.hypot(x, y) / (SIDE / 2 - 1)
    disk = np.where(radius < 1, 120 * np.sqrt(np.clip(1 - 0.6 * radius**2, 0, 1)), 0)
    labels = (np.arange(n) // 3) % 2
    images = disk + rng.normal(0, 4, (n, SIDE, SIDE))
    for image, label in zip(images, labels, strict=True):
        if label == 0:
            at = rng.integers(10, 20, 2)
            image[at[0] : at[0] + 5, at[1] : at[1] + 5] += 110
    return np.clip(images, 0, 255).astype(np.uint8), labels


def regions(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Regions in colour, (n, 16, 16, 3), two frames of six with a bright ribbon; label 0 is flare."""
    rng = np.random.default_rng(seed)
    labels = ((np.arange(n) // 2) % 3 > 0).astype(int)
    images = rng.normal(90, 12, (n, REGION, REGION, 3))
    for image, label in zip(images, labels, strict=True):
        if label == 0:
            image[6:10, :, 0] += 100
    return np.clip(images, 0, 255).astype(np.uint8), labels


def write_sky_inputs(folder: Path) -> None:
    """Write `times.csv` and `frames`, `regions.npz`, `objects.csv`, and pictures with `pairs.csv`."""
    start = datetime(2011, 2, 12, tzinfo=UTC)
    times = [start + timedelta(hours=24 * (i // 3) + i % 3) for i in range(60)]
    rows = [f"disk{i:02d}.png,{time.isoformat()}" for i, time in enumerate(times)]
    (folder / "times.csv").write_text("\n".join(["file,time", *rows]) + "\n")
    images, labels = disks(60, 1)
    (folder / "frames").mkdir()
    rows = ["file,class"]
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / "frames" / f"disk{i:02d}.png")
        rows.append(f"disk{i:02d}.png,{('active', 'quiet')[labels[i]]}")
    (folder / "frames" / "labels.csv").write_text("\n".join(rows) + "\n")
    images, labels = regions(90, 2)
    names = np.array(["flare", "quiet"])
    np.savez(folder / "regions.npz", x=images, y=labels, class_names=names, groups=np.arange(90) // 2)
    rows = [f"{name},{ra},47.2,{class_name}" for name, ra, class_name in OBJECTS]
    (folder / "objects.csv").write_text("\n".join(["name,ra,dec,class", *rows]) + "\n")
    write_pairs(folder)


def write_cutouts(folder: Path) -> None:
    """Write what `data fetch` makes of `objects.csv`, for where no server answers."""
    (folder / "cutouts").mkdir()
    rows = ["file,class"]
    for i, (name, ra, class_name) in enumerate(OBJECTS):
        is_labelled = int(ra) == WHOLE
        file = f"{name}.fits" if is_labelled else f"{name}.fits.unused"
        (folder / "cutouts" / file).write_bytes(fits_image(int(ra), 150, number=i))
        rows += [f"{file},{class_name}"] if is_labelled else []
    (folder / "cutouts" / "labels.csv").write_text("\n".join(rows) + "\n")


def write_pairs(folder: Path) -> None:
    """Write twelve disks, a region each, and the table of both: a pair flares where both are of label 0."""
    (of_disk, active), (of_region, flares) = disks(12, 3), regions(12, 4)
    rows = ["disk,region,flare,group"]
    for i in range(12):
        for name, image in (("disk", of_disk[i]), ("region", of_region[i])):
            (folder / f"{name}s").mkdir(exist_ok=True)
            Image.fromarray(image).save(folder / f"{name}s" / f"{i}.png")
        rows.append(f"disks/{i}.png,regions/{i}.png,{int(active[i] == 0 and flares[i] == 0)},{i // 2}")
    (folder / "pairs.csv").write_text("\n".join(rows) + "\n")
