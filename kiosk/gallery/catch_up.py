"""A gallery in memory in step with what another process did to the one on disk, without loading it anew.

Only files that were written elsewhere are opened. Whoever is on the disk no more is forgotten, whoever is new
or was enrolled again is taken; everything else stays as it is, at any size of the gallery.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Final

import numpy as np

from kiosk.gallery.gallery import Gallery
from kiosk.gallery.manifest import GalleryDamaged, Manifest
from kiosk.gallery.segment_files import SegmentFiles, wipe
from kiosk.gallery.template import PayerRecord

__all__ = ["caught_up"]

MOST: Final = 1_000
"""People in files to be opened up to which this takes a moment; with more, all is loaded anew."""


def caught_up(files: SegmentFiles, manifest: Manifest, gallery: Gallery) -> bool:
    """Whether `gallery` holds now what `manifest` names; False: too much changed, or not by others."""
    fresh = [entry for entry in manifest.entries if not files.knows(entry)]
    if not gallery.size or sum(entry.people for entry in fresh) > MOST:
        return False
    epoch_id = manifest.epoch.id
    come: dict[str, PayerRecord] = {}
    try:
        for entry in fresh:
            come |= {record.token: record for record in files.open(entry, epoch_id)[0]}
    except GalleryDamaged:
        wipe(come.values())
        return False
    here = frozenset().union(*(files.tokens(entry, epoch_id) for entry in manifest.entries)) - manifest.gone
    if any(gallery.payer(token) is None for token in here - come.keys()):
        wipe(come.values())
        return False
    for record in gallery.records():
        if record.token not in here:
            gallery.forget(record.token)
    for token in come.keys() & here:
        if _are_same(gallery.payer(token), come[token]):
            come[token].wipe()
        else:
            gallery.enrol(come[token])
    gallery.renumber(manifest.version)
    gallery.neighbours = manifest.neighbours
    return True


def _are_same(held: PayerRecord | None, record: PayerRecord) -> bool:
    if held is None:
        return False
    names = [field.name for field in fields(PayerRecord) if field.name != "references"]
    facts = all(getattr(held, name) == getattr(record, name) for name in names)
    return facts and np.array_equal(held.vectors(), record.vectors())
