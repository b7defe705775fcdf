"""Records into an epoch, and from one to another; what was made on the way is overwritten."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kiosk.gallery.epoch import Epoch
from kiosk.gallery.template import PayerRecord, Reference, Template

__all__ = ["turned", "turned_over"]


def turned(record: PayerRecord, epoch: Epoch) -> PayerRecord:
    """A record as the network made it, turned into `epoch`. `record` itself is left as it is."""
    return _turned(record, epoch, None)


def turned_over(record: PayerRecord, old: Epoch, new: Epoch) -> PayerRecord:
    """A record of `old` as one of `new`. `record` itself is left as it is."""
    return _turned(record, new, old)


def _turned(record: PayerRecord, into: Epoch, out_of: Epoch | None) -> PayerRecord:
    vectors = record.vectors()
    made: list[NDArray[np.float32]] = [vectors]
    try:
        if out_of is not None:
            made.append(out_of.turn_back(vectors))
        made.append(into.turn(made[-1]))
        model_id = record.model_id
        references = tuple(Reference(Template(vector), model_id) for vector in made[-1])
        return replace(record, references=references)
    finally:
        for vectors in made:
            vectors.fill(0.0)
