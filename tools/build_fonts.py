"""Rebuilds the fonts in `assets/fonts` from the npm packages that hold them, cut to the glyphs needed.

The same packages and the same fontTools give the same bytes. Chinese: all 6,763 hanzi of GB/T 2312 and its
punctuation, because a masked name can hold any of them; Latin: what Inter has for Western and Central Europe.
The licence (OFL 1.1) reserves the name *Noto Sans*: the cut fonts are called *Kiosk Sans* and *Kiosk Hans*.

    python -m venv .venv-fonts && .venv-fonts/bin/pip install "fonttools==4.68.0"
    .venv-fonts/bin/python tools/build_fonts.py            # download, cut, write
    .venv-fonts/bin/python tools/build_fonts.py --check    # cut, compare with what is there, write nothing
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

ROOT = Path(__file__).resolve().parent.parent
FONTS = ROOT / "assets" / "fonts"
CACHE = Path.home() / ".cache" / "facepay-kiosk" / "fonts"


@dataclass(frozen=True, slots=True)
class Package:
    """An npm package, pinned by hash."""

    name: str
    version: str
    archive: str
    sha256: str
    licence: str


@dataclass(frozen=True, slots=True)
class Cut:
    """One font: where it comes from, what it is called afterwards, and what stays in it."""

    package: Package
    member: str
    file: str
    family: str
    style: str
    characters: str
    features: tuple[str, ...]


def gb2312_hanzi() -> str:
    """Levels 1 and 2 of GB/T 2312: 6,763 characters, from Python's own codec."""
    pairs = (bytes((row, cell)) for row in range(0xB0, 0xF8) for cell in range(0xA1, 0xFF))
    return "".join(pair.decode("gb2312", errors="ignore") for pair in pairs)


def chinese() -> str:
    """Hanzi, CJK punctuation and full-width forms."""
    return gb2312_hanzi() + "".join(map(chr, (*range(0x3000, 0x3020), *range(0xFF01, 0xFF5F), 0xFFE5)))


def latin() -> str:
    """Latin with its accents, punctuation, arrows of text, and currency signs."""
    ranges = (
        (0x20, 0x7F),
        (0xA0, 0x180),
        (0x2010, 0x2028),
        (0x2030, 0x203B),
        (0x20A0, 0x20C1),
        (0x2212, 0x2213),
    )
    return "".join(chr(code) for first, last in ranges for code in range(first, last))


HANS = Package(
    name="@embedpdf/fonts-sc",
    version="1.0.0",
    archive="embedpdf-fonts-sc-1.0.0.tgz",
    sha256="589e6a5f2168430b4ae5a46bfdc4606f1798f5c06be5a2369ab89f75b804a0ad",
    licence="package/LICENSE",
)
INTER = Package(
    name="@expo-google-fonts/inter",
    version="0.4.2",
    archive="expo-google-fonts-inter-0.4.2.tgz",
    sha256="b5c1e5878c07a5637169da9f7b1f370c69709f1f8de55998e2522f7aa9dfe2a9",
    licence="package/LICENSE_FONT",
)
LICENCES = {HANS: "OFL-KioskHans.txt", INTER: "OFL-KioskSans.txt"}
KEPT = ("kern", "mark", "mkmk", "ccmp", "locl", "tnum")
INTER_FILES = {"Regular": "400Regular/Inter_400Regular.ttf", "Bold": "700Bold/Inter_700Bold.ttf"}
CUTS = tuple(
    cut
    for style, file in INTER_FILES.items()
    for cut in (
        Cut(INTER, f"package/{file}", f"KioskSans-{style}.ttf", "Kiosk Sans", style, latin(), KEPT),
        Cut(
            HANS,
            f"package/fonts/NotoSansHans-{style}.otf",
            f"KioskHans-{style}.otf",
            "Kiosk Hans",
            style,
            chinese(),
            (),
        ),
    )
)


def fetched(package: Package) -> bytes:
    """The package's archive, from the cache or from the registry; refused when its hash is another."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / package.archive
    if not path.exists():
        subprocess.run(
            ["npm", "pack", "--silent", f"{package.name}@{package.version}"],
            cwd=CACHE,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != package.sha256:
        sys.exit(f"{path}: sha256 is {found}, not {package.sha256}. Delete the file and try again.")
    return data


def member(package: Package, name: str) -> bytes:
    """One file of a package."""
    with tarfile.open(fileobj=io.BytesIO(fetched(package))) as archive:
        file = archive.extractfile(name)
        if file is None:
            sys.exit(f"{package.archive}: there is no {name}")
        return file.read()


def cut(recipe: Cut) -> bytes:
    """The font with only what is needed, under its new name; time stamps as in the original."""
    font = TTFont(io.BytesIO(member(recipe.package, recipe.member)), recalcTimestamp=False)
    options = subset.Options(
        layout_features=list(recipe.features),
        hinting=False,
        notdef_outline=True,
        name_IDs=[0, 1, 2, 3, 4, 5, 6, 13, 14],
    )
    cutter = subset.Subsetter(options)
    cutter.populate(text=recipe.characters)
    cutter.subset(font)
    rename(font, recipe.family, recipe.style)
    out = io.BytesIO()
    font.save(out)
    return out.getvalue()


def rename(font: TTFont, family: str, style: str) -> None:
    """Take the reserved name out of every name record and of the CFF table."""
    postscript = f"{family.replace(' ', '')}-{style}"
    names = {1: family, 2: style, 3: f"{postscript};facepay-kiosk", 4: f"{family} {style}", 6: postscript}
    table = font["name"]
    table.names = [record for record in table.names if record.nameID not in (16, 17)]
    for record in table.names:
        if record.nameID in names:
            record.string = names[record.nameID]
    for number, text in names.items():
        table.setName(text, number, 3, 1, 0x409)
    if "CFF " in font:
        cff = font["CFF "].cff
        cff.fontNames[0] = postscript
        cff.topDictIndex[0].FullName, cff.topDictIndex[0].FamilyName = f"{family} {style}", family


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare with what is there, write nothing")
    check = parser.parse_args().check
    built = {recipe.file: cut(recipe) for recipe in CUTS}
    built |= {file: member(package, package.licence) for package, file in LICENCES.items()}
    wrong = 0
    for file, data in built.items():
        path = FONTS / file
        if check:
            same = path.exists() and path.read_bytes() == data
            wrong += not same
            print(f"{'same' if same else 'DIFFERENT':>9}  {file}")
        else:
            FONTS.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            print(f"{len(data):>9,}  {hashlib.sha256(data).hexdigest()}  {file}")
    sys.exit(wrong)


if __name__ == "__main__":
    main()
