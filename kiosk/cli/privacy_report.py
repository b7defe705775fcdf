"""`kiosk privacy report`: the impact assessment and the signs of this kiosk as it is set up now."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kiosk.cli.common import ConfigFile, DataDir, Json, complain, print_json, say
from kiosk.domain.errors import OperatorError

__all__ = ["report"]


def report(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the pages; it is made when it is new.")
    ] = Path("privacy-report"),
    data_dir: DataDir = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Write this kiosk's impact assessment, and the sign for its wall in each language.

    Both are made from the live configuration, policy, networks and gallery. `assessment.html` is a draft: it
    lists what is open, and has lines for what only people can judge and sign. `sign-LANGUAGE.html` prints on
    one page; `sign-LANGUAGE.txt` has the same words. No script, nothing loaded, nobody named.

    Exit code 0 also with open points: --json lists them.

    Example: kiosk privacy report --out report/
    """
    from dataclasses import asdict

    from kiosk.app.privacy_facts import facts_of
    from kiosk.app.privacy_report import assessment_html, open_points
    from kiosk.app.privacy_signs import SIGNS, sign_html, sign_text
    from kiosk.app.wiring import open_base
    from kiosk.files import write_whole

    with open_base(data_dir, config, complain) as base:
        facts = facts_of(base)
    pages = {"assessment.html": assessment_html(facts)}
    for language in SIGNS:
        pages[f"sign-{language}.html"] = sign_html(facts, language)
        pages[f"sign-{language}.txt"] = sign_text(facts, language)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, page in pages.items():
            write_whole(out / name, page.encode(), mode=0o644)
    except OSError as error:
        raise OperatorError(
            f"cannot be written ({error.strerror})", where=str(out), do="Check --out."
        ) from None
    points = open_points(facts)
    if json:
        open_ = [asdict(point) for point in points]
        print_json({"out": str(out), "files": list(pages), "people": facts.enrolled.people, "open": open_})
        return
    for point in points:
        say(f"{point.weight:<6} {point.what}. {point.do}")
    say(f"wrote {', '.join(pages)} to {out}")
