"""Who is enrolled, as data: a template, the references of a person, and what the kiosk knows beside them.

A template is float32[192] of length 1. It is biometric data: it never shows in a `repr` or a log, and it can
be overwritten. Everything here is checked where it is made, so that what exists is valid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiosk.domain.limits import NO_LIMITS, Limits

__all__ = ["MAX_REFERENCES", "TEMPLATE_SIZE", "PayerRecord", "Reference", "Template", "cosine"]

TEMPLATE_SIZE: Final = 192
"""Components of a template: what the shipped embedding network gives (`assets/models/manifest.json`)."""

MAX_REFERENCES: Final = 8
"""References that one person may have; enrolment takes three looks."""

LENGTH_TOLERANCE: Final = 1e-3
"""How far from 1 a template's length may be: float32 sums of 192 squares stay below 1e-5."""

MAX_TEXT: Final = 128
"""Longest token, masked name, masked account, consent reference or model id, in characters."""


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """float32[192], finite, of length 1 (ISO/IEC 2382-37: a stored biometric feature set).

    ValueError for anything else. The vector is the template's own copy; `wipe` overwrites it, after which the
    template can no longer be searched.
    """

    vector: NDArray[np.float32] = field(repr=False)

    def __post_init__(self) -> None:
        vector = np.array(self.vector, dtype=np.float32, copy=True)
        if vector.shape != (TEMPLATE_SIZE,):
            raise ValueError(f"a template has {TEMPLATE_SIZE} components, not the shape {vector.shape}")
        if (
            not abs(float(np.linalg.norm(vector)) - 1.0) <= LENGTH_TOLERANCE
        ):  # "not <=": NaN is refused as well
            raise ValueError("a template has finite components and length 1")
        vector.setflags(write=False)
        object.__setattr__(self, "vector", vector)

    @classmethod
    def of(cls, vector: ArrayLike) -> Template:
        """The template in the direction of `vector` (192 numbers, any length but 0, all finite)."""
        raw = np.array(vector, dtype=np.float64)
        length = float(np.linalg.norm(raw))
        if not 0.0 < length < np.inf:
            raise ValueError("a vector that is zero or not finite has no direction")
        raw /= length
        single = raw.astype(np.float32)
        try:
            return cls(single)
        finally:
            raw.fill(0.0)
            single.fill(0.0)

    @property
    def wiped(self) -> bool:
        """Whether `wipe` was called."""
        return not self.vector.any()

    def wipe(self) -> None:
        """Overwrite the vector in memory."""
        self.vector.setflags(write=True)
        self.vector.fill(0.0)
        self.vector.setflags(write=False)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """One stored template and the network that made it: templates of two networks can't be compared."""

    template: Template
    model_id: str

    def __post_init__(self) -> None:
        _check_text("model_id", self.model_id)


@dataclass(frozen=True, slots=True, eq=False)
class PayerRecord:
    """One enrolled person, as far as the kiosk knows them.

    `token` is the acquirer's opaque name for the payer; `masked_name` and `masked_account` are what the
    confirm page shows; `digits` are the last four of the phone number, or "" where none were given; they are
    kept nowhere but in the encrypted gallery. `enrolled_at_s` is seconds since 1970 (UTC). 1 to 8 references,
    all of one network. `limits`: what this person allows themselves, for a payment and for a day.
    `keep_until_s`: when the consent ends by itself, seconds since 1970 (UTC); None: it does not.
    `consent_text`: which text they agreed to and in which language, such as "v1/ar"; "" where the acquirer
    took the consent. `by_guardian`: a parent or guardian declared it for a child.
    ValueError for anything else.
    """

    token: str
    masked_name: str = field(repr=False)
    masked_account: str = field(repr=False)
    digits: str = field(repr=False)
    consent_ref: str
    enrolled_at_s: int
    references: tuple[Reference, ...] = field(repr=False)
    limits: Limits = NO_LIMITS
    keep_until_s: int | None = None
    consent_text: str = ""
    by_guardian: bool = False

    def __post_init__(self) -> None:
        for name in ("token", "masked_name", "masked_account", "consent_ref"):
            _check_text(name, getattr(self, name))
        if self.consent_text:
            _check_text("consent_text", self.consent_text)
        if self.digits and not (len(self.digits) == 4 and self.digits.isascii() and self.digits.isdigit()):
            raise ValueError("digits are the last four of a phone number, or empty")
        if self.enrolled_at_s < 0:
            raise ValueError("enrolled_at_s is before 1970")
        if self.keep_until_s is not None and self.keep_until_s <= self.enrolled_at_s:
            raise ValueError("keep_until_s is not after the enrolment")
        if not 1 <= len(self.references) <= MAX_REFERENCES:
            raise ValueError(f"a person has 1 to {MAX_REFERENCES} references, not {len(self.references)}")
        if len({reference.model_id for reference in self.references}) != 1:
            raise ValueError("a person's references come from one network")
        own = self.limits  # most people have none, and a gallery is checked person by person
        if own is not NO_LIMITS and own != Limits(own.per_payment, own.per_person_day):
            raise ValueError("a person's own limits are for a payment and for a day")

    @property
    def model_id(self) -> str:
        """The network that made the references."""
        return self.references[0].model_id

    def vectors(self) -> NDArray[np.float32]:
        """The references as float32[n, 192], a copy."""
        return np.stack([reference.template.vector for reference in self.references])

    def wipe(self) -> None:
        """Overwrite all references in memory."""
        for reference in self.references:
            reference.template.wipe()


def cosine(a: Template, b: Template) -> float:
    """How alike two templates of one network are, in [-1, 1]."""
    return float(np.clip(np.dot(a.vector, b.vector), -1.0, 1.0))


def _check_text(name: str, value: str) -> None:
    """Text from outside reaches screens and receipts: no control characters, bounded, not empty."""
    if not 1 <= len(value) <= MAX_TEXT or not value.isprintable():
        raise ValueError(f"{name} is 1 to {MAX_TEXT} printable characters")
