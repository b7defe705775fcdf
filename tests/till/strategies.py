"""What can be said between till and kiosk, for property tests."""

from __future__ import annotations

import string
from dataclasses import replace

from hypothesis import strategies as st

from kiosk.domain.money import CURRENCIES, MAX_MINOR, Money
from kiosk.domain.till import (
    Abort,
    Answered,
    AskStatus,
    Diagnose,
    News,
    OpenPayment,
    Outcome,
    Rejected,
    Request,
    Said,
    Told,
)

ids = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=35)
order_refs = st.text([chr(code) for code in range(0x21, 0x7F)], min_size=1, max_size=64)
currencies = st.sampled_from(sorted(CURRENCIES))
prices = st.builds(Money, st.integers(1, MAX_MINOR), currencies)
requests: st.SearchStrategy[Request] = st.one_of(
    st.builds(OpenPayment, ids, order_refs, prices),
    st.builds(Abort, ids, order_refs),
    st.builds(AskStatus, ids, order_refs),
    st.builds(Diagnose, ids),
)

printable = st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\x7f")
texts = st.text(printable, max_size=40)
codes = st.text(string.ascii_lowercase + string.digits + "_", max_size=32)
ends: st.SearchStrategy[Told] = st.builds(
    Told,
    st.just(Outcome.APPROVED),
    order_refs,
    prices,
    st.uuids().map(str),
    codes,
    st.text(string.ascii_uppercase + string.digits, max_size=6),
    st.text(string.digits, max_size=12),
    texts,
    receipt=st.lists(texts, max_size=30).map(tuple),
    standing=st.sampled_from(["", "offline_charged", "offline_not_charged"]),
).filter(lambda told: told.receipt != ("",))


def _refunded(told: Told, minor: int) -> Told:
    assert told.amount is not None
    return replace(told, standing="refunded_in_part", refunded=Money(minor, told.amount.currency))


ends |= st.builds(_refunded, ends, st.integers(1, MAX_MINOR))
said: st.SearchStrategy[Said] = st.one_of(
    st.builds(Answered, ids, ends), st.builds(News, ends), st.builds(Rejected, texts)
)
