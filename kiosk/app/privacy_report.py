"""The impact assessment of this kiosk as it is set up now: a draft that a person finishes and signs.

It has the four parts of GDPR art. 35(7), which PIPL art. 56 asks for too: what is done, whether it is needed,
which risks there are, and what is done about them. What a kiosk can't judge is left open by name. One page of
HTML without scripts, with nothing loaded from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Final, Literal

from kiosk.app.privacy_facts import Facts
from kiosk.app.privacy_map import DATA_MAP, HEADINGS

__all__ = ["Point", "Risk", "assessment_html", "open_points", "risks_of"]

Weight = Literal["must", "should", "note"]


@dataclass(frozen=True, slots=True)
class Point:
    """Something that is open: `must` before anybody is enrolled for money, `should` soon, `note` to know."""

    weight: Weight
    what: str
    do: str


@dataclass(frozen=True, slots=True)
class Risk:
    """A risk for people. `left`: what remains of it with the measures as they are now."""

    name: str
    harm: str
    measures: str
    left: Literal["low", "medium", "high"]


def open_points(facts: Facts) -> list[Point]:
    """What the live kiosk lacks, most urgent first."""
    gallery = facts.enrolled
    found: list[tuple[bool, Weight, str, str]] = [
        (facts.mode != "production", "note", f"mode is {facts.mode}: no real payments", "The sign says so."),
        (not facts.provider, "must", "no policy of an acquirer: who receives templates is not known",
         "Set up the acquirer, run `kiosk doctor`, make this report again."),
        (not facts.contact, "must", "nobody is named whom people can reach", "Set privacy.contact."),
        (not facts.face_allowed, "note", f"face payment is switched off here {facts.law_note}".rstrip(),
         "Enrol nobody until it is allowed."),
        (not facts.is_hardware, "must", f"the key is {facts.key}: who takes the disk takes the templates",
         'Use a key on a token: key.store = "token".'),
        (bool(facts.line) and not facts.is_encrypted, "must", f"the line is {facts.line}",
         "Ask the acquirer for an https address with a pinned key."),
        (any("swaps" in way for way in facts.memory), "should", "; ".join(facts.memory),
         "Switch swap off; run the kiosk by its unit."),
        (any(not network.cleared for network in facts.networks), "must",
         "no leave to use for money: " + ", ".join(one.id for one in facts.networks if not one.cleared),
         "Obtain leave or bring another network (docs/models.md)."),
        (gallery.references >= facts.warn_at, "must",
         f"{gallery.references} references are stored; from {facts.warn_at} on some places want it filed",
         "File it with the authority of the place where that is the law."),
        (gallery.without_end > 0, "should", f"{gallery.without_end} people are enrolled without an end",
         "Enrol them again, with a consent that ends."),
        (gallery.by_guardian > 0, "note", f"{gallery.by_guardian} were enrolled by a guardian",
         "Children want more care: see risk 7."),
    ]  # fmt: skip
    points = [Point(weight, what, do) for holds, weight, what, do in found if holds]
    points += [Point("must", f"not readable: {gap}", "Mend it and make this again.") for gap in facts.gaps]
    return sorted(points, key=lambda point: ("must", "should", "note").index(point.weight))


def risks_of(facts: Facts) -> list[Risk]:
    """The risks for people, with the measures that hold here and now."""
    at_rest: Literal["low", "high"] = "low" if facts.is_hardware else "high"
    on_the_line: Literal["low", "high"] = "low" if facts.is_encrypted else "high"
    memory = "; ".join(facts.memory) or "no core dumps, closed to other processes, no swap on a disk"
    return [
        Risk(
            "1. Templates are stolen from the disk or a backup",
            "Recognised elsewhere, for good: a face can't be changed.",
            "Sealed with a key of the kiosk in a place of their own; turned by a secret per epoch, so that "
            f"they match no other gallery, and renewable after a leak. The key: {facts.key}. Whoever has key "
            "and disk has the templates.",
            at_rest,
        ),
        Risk(
            "2. Templates or probes are read in memory or from a crash",
            "The same.",
            f"Buffers of ours are overwritten after use. Here: {memory}. Root on the machine can read them.",
            "medium" if facts.memory else "low",
        ),
        Risk(
            "3. Templates are taken on their way",
            "The same.",
            f"Sealed to the acquirer's key inside the line. The line: {facts.line or 'none yet'}. Segments "
            "come signed and sealed for their place (TUF).",
            on_the_line,
        ),
        Risk(
            "4. Somebody else is charged",
            "Money lost, distress, a dispute.",
            f"A threshold of {facts.match:.2f} that grows with the number of people, a margin, digits or PIN "
            f"when it is thin; {facts.enrolled.neighbours} who resemble another always give one; every "
            "payment is confirmed by a press. Caps: " + (_caps(facts) or "none known yet") + ".",
            "low",
        ),
        Risk(
            "5. A picture, a film or a mask pays",
            "The same.",
            "Presentation attack detection on every look; "
            + ("everybody" if facts.challenge == "always" else "who is in doubt")
            + " is challenged. Rates, and where they are not good: docs/biometrics.md.",
            "medium",
        ),
        Risk(
            "6. It works worse for some than for others",
            "Refused or suspected because of skin, age, glasses, a veil.",
            "Every other way to pay costs the same. Rates by group: `kiosk eval identify` with a column "
            "group; they were not measured for the people of this place.",
            "medium",
        ),
        Risk(
            "7. Consent that is none: a child, pressure, a purchase that depends on it",
            "Processing without a ground.",
            "Text in versions and languages, apart from any terms; age asked; under 14 only with guardian "
            "and staff; declining costs nothing. Staff have to live it.",
            "medium",
        ),
        Risk(
            "8. A deletion does not arrive",
            "Recognised after withdrawal.",
            "Gone here when the command returns, on kiosks that are online within 60 s; a kiosk that hears "
            "nothing for too long stops face payment; an older gallery put back is refused.",
            "low",
        ),
        Risk(
            "9. It is used for something else: watching, advertising, the police",
            "Loss of trust in every camera.",
            "The camera is off until a press; no picture is kept; templates of this epoch match no other "
            "gallery. A law can still ask the acquirer, who has every epoch's secret.",
            "medium",
        ),
        Risk(
            "10. Someone inside reads or changes what was done",
            "Unlawful use that nobody can prove.",
            f"Staff PINs and roles; an audit trail whose cut or change is noticed ({facts.audit}).",
            "low",
        ),
    ]  # fmt: skip


_STYLE: Final = (
    "@page{size:A4;margin:16mm}*{box-sizing:border-box}"
    "body{margin:0 auto;max-width:190mm;padding:6mm;background:#fff;color:#14202b;"
    "font:10.5pt/1.45 'Noto Sans','Segoe UI',Arial,'DejaVu Sans','Noto Sans CJK SC',sans-serif}"
    "h1{font-size:20pt;margin:0 0 2mm}h2{font-size:14pt;margin:8mm 0 2mm;color:#0b3d5c;break-after:avoid}"
    "p{margin:0 0 2mm}table{border-collapse:collapse;width:100%;table-layout:fixed;margin:0 0 3mm}"
    "th,td{border:.3mm solid #9fb3c2;padding:1.2mm 2mm;text-align:start;vertical-align:top;"
    "overflow-wrap:break-word}th{background:#e8eff4}tr{break-inside:avoid}"
    ".open th:first-child{width:15mm}.map{font-size:8.5pt}.facts th{width:34%}"
    ".risks th:first-child{width:22%}.risks th:nth-child(2){width:20%}.risks th:last-child{width:17mm}"
    ".must,.high{background:#fbe4e4}.should,.medium{background:#fdf3d7}.low{background:#e5f3e6}"
    ".tag,.bio{font-weight:bold}.line{border-bottom:.3mm solid #14202b;height:9mm}"
    "@media print{body{padding:0}}"
)


def assessment_html(facts: Facts) -> str:
    """The whole page."""
    made = f"{facts.made_at:%Y-%m-%d %H:%M %Z}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Impact assessment, {escape(facts.terminal)}</title><style>{_STYLE}</style></head><body>"
        "<h1>Data protection impact assessment: payment by face</h1>"
        f"<p>{escape(facts.controller)}, kiosk {escape(facts.terminal)}. Made {made} by "
        f"{escape(facts.software)} from its live settings. A draft: sections 3 and 7 are for people, and no "
        f"program can sign it.</p><h2>1. What is open</h2>{_points(open_points(facts))}"
        f"<h2>2. What is done</h2>{_what(facts)}"
        f"<h2>3. Whether it is needed, and in proportion</h2>{_NEEDED}"
        f"<h2>4. What data, where, how long</h2>{_map()}"
        f"<h2>5. Risks for people, and what is done about them</h2>{_risks(risks_of(facts))}"
        f"<h2>6. What people can do</h2>{_RIGHTS}"
        f"<h2>7. Opinions and signatures</h2>{_SIGN}"
        "</body></html>\n"
    )


def _points(points: Sequence[Point]) -> str:
    if not points:
        return "<p>Nothing that the kiosk can see.</p>"
    rows = (
        f'<tr class="{one.weight}"><td class="tag">{one.weight}</td><td>{escape(one.what)}</td>'
        f"<td>{escape(one.do)}</td></tr>"
        for one in points
    )
    return f'<table class="open"><tr><th></th><th>what</th><th>what to do</th></tr>{"".join(rows)}</table>'


def _what(facts: Facts) -> str:
    gallery = facts.enrolled
    people = f"{gallery.people} enrolled, {gallery.references} references (gallery version {gallery.version})"
    if gallery.people:
        people += (
            f"; enrolled at this kiosk: {gallery.here}, by the acquirer: {gallery.people - gallery.here}"
        )
    rows = [
        ("Purpose", "to identify a payer who presses “Pay with face”; to keep one face from two accounts"),
        ("Responsible", f"{facts.controller}; {facts.contact or 'no contact set'}"),
        ("Carries out payments, receives templates", _provider(facts)),
        ("Mode", facts.mode),
        ("People", people),
        ("Enrolled since; next consent that ends", f"{_day(gallery.first)}; {_day(gallery.next_end)}"),
        ("Consent texts agreed to", ", ".join(f"{text}: {count}" for text, count in gallery.texts) or "-"),
        ("By a guardian", str(gallery.by_guardian)),
        ("Always give a second factor (near doubles)", str(gallery.neighbours)),
        ("Epoch of the gallery; last fresh", f"{gallery.epoch or '-'}; {_day(gallery.fresh_at)}"),
        ("Camera; challenge", f"{facts.camera}; {facts.challenge}"),
        ("Networks", "; ".join(f"{one.role}: {one.id} ({one.licence})" for one in facts.networks)),
        ("They were trained on", "; ".join(f"{one.role}: {one.trained_on}" for one in facts.networks)),
        ("Key of the kiosk", facts.key),
        ("Line to the acquirer", facts.line or "none"),
        ("Limits in force", _caps(facts) or "none"),
        ("Two factors by law above", facts.two_factors_above or "not asked for"),
        ("Sold while the acquirer can't be reached", "yes" if facts.offline else "no"),
        ("Audit trail", facts.audit),
    ]
    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<table class="facts">{body}</table>'


def _provider(facts: Facts) -> str:
    if not facts.provider:
        return "not known yet"
    return f"{facts.provider}, licence {facts.licence}; policy {facts.policy}"


def _caps(facts: Facts) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.limits)


def _day(at: datetime | None) -> str:
    return "-" if at is None else f"{at:%Y-%m-%d}"


def _map() -> str:
    head = "".join(f"<th>{name}</th>" for name in HEADINGS)
    rows = "".join(
        f'<tr><td class="{"bio" if one.biometric else ""}">{escape(one.what)}</td>'
        + _cells((one.where, one.protection, one.kept, one.ground, one.receives))
        + "</tr>"
        for one in DATA_MAP
    )
    return f'<p>Bold: biometric data.</p><table class="map"><tr>{head}</tr>{rows}</table>'


def _risks(risks: Sequence[Risk]) -> str:
    rows = "".join(
        f"<tr><th>{escape(one.name)}</th>{_cells((one.harm, one.measures))}"
        f'<td class="{one.left} tag">{one.left}</td></tr>'
        for one in risks
    )
    head = "<tr><th>risk</th><th>harm</th><th>measures</th><th>what is left</th></tr>"
    return f'<table class="risks">{head}{rows}</table>'


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"<td>{escape(text)}</td>" for text in texts)


_NEEDED: Final = (
    "<p>Ground: explicit consent for each person (GDPR art. 9(2)(a); PIPL art. 29), apart from any purchase. "
    "Less intrusive and as good: card, code or cash, which every kiosk offers for the same price. Kept "
    "small: no pictures, one reference of up to three looks, masked names, no whole score; a search only "
    "after a press.</p><p>For a person to judge: why a face is wanted here although other ways exist; "
    "whether the people who come here are free to decline; "
    "whether children, staff or people who depend on the shop are among them.</p>"
    '<div class="line"></div><div class="line"></div>'
)
_RIGHTS: Final = (
    "<p>Read the text before anything is taken (<code>kiosk consent show</code>); see and get what is held "
    "(<code>kiosk privacy export</code>); withdraw (<code>kiosk forget</code>), which deletes at once; "
    "correct by enrolling anew; dispute a payment (<code>kiosk dispute</code>); learn what was done about "
    "them (<code>kiosk audit show --payer</code>). Nobody is refused by a machine alone: every refusal "
    "leaves the other ways to pay, and staff.</p>"
)
_SIGN: Final = (
    "<table class='facts'>"
    + "".join(
        f"<tr><th>{who}</th><td><div class='line'></div></td></tr>"
        for who in (
            "Opinion of the data protection officer",
            "Views of people concerned, or why they were not asked",
            "Whether the authority has to be consulted (a risk that stays high)",
            "Decision, name, date, signature",
            "To be looked at again on (also when networks, acquirer or place change)",
        )
    )
    + "</table>"
)
