"""People who do not exist, for the gallery's tests: a centre each, and looks of them around it."""

from __future__ import annotations

import numpy as np

from kiosk.gallery.template import TEMPLATE_SIZE, PayerRecord, Reference, Template

MODEL = "test-network-1"


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    vectors = rng.standard_normal((count, TEMPLATE_SIZE)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def looks(centre: np.ndarray, rng: np.random.Generator, count: int = 1) -> np.ndarray:
    """Looks of one person: cosines with the centre of about 0.8."""
    near = centre + 0.75 * unit(rng, count)
    return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)


def record(token: str, vectors: np.ndarray, digits: str = "1234", model: str = MODEL) -> PayerRecord:
    return PayerRecord(
        token=token,
        masked_name="*ing",
        masked_account="**** 4821",
        digits=digits,
        consent_ref="consent-7",
        enrolled_at_s=1_790_000_000,
        references=tuple(Reference(Template.of(vector), model) for vector in vectors),
    )


def people(count: int, seed: int = 1, references: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"p{number:06}": looks(centre, rng, references) for number, centre in enumerate(unit(rng, count))}
