"""Names and accounts as a bystander may read them."""

from __future__ import annotations

import unicodedata

__all__ = ["mask_account", "mask_name"]


def mask_name(name: str) -> str:
    """`"王小明"` -> `"*小明"`; `"Ada Lovelace"` -> `"A** L***"`; the length of a name is not told."""
    words = "".join(c if c.isprintable() else " " for c in name).split()
    if not words:
        return "*"
    if len(words) == 1 and unicodedata.name(words[0][0], "").startswith(
        ("CJK", "HANGUL", "HIRAGANA", "KATAKANA")
    ):
        return "*" + words[0][1:]
    first, *others = words
    return " ".join([f"{first[0]}**", *(f"{word[0]}***" for word in others[-1:])])


def mask_account(account: str) -> str:
    """`"6222020200112233"` -> `"•••• 2233"`; short ones are hidden whole."""
    characters = [c for c in account if c.isalnum()]
    return "•••• " + "".join(characters[-4:]) if len(characters) >= 8 else "••••"
