from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from kiosk.assets import assets_dir
from kiosk.domain.errors import OperatorError
from kiosk.vision.models import (
    Role,
    check_mode,
    load_manifest,
    load_model,
    read_model,
    thresholds_of,
)


def edited(folder: Path, change) -> Path:
    path = folder / "manifest.json"
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document), "utf-8")
    return folder


def test_every_shipped_model_is_the_file_that_the_manifest_describes():
    manifest = load_manifest()
    assert {card.role for card in manifest.models} == set(Role)
    for card in manifest.models:
        assert len(read_model(card)) == card.bytes
        load_model(card)


def test_every_threshold_names_the_command_that_set_it():
    for card in load_manifest().models:
        for name, threshold in card.thresholds.items():
            assert threshold.set_by, f"{card.id}: {name}"


def test_a_wrong_file_is_refused_by_name(models_copy):
    card = load_manifest(models_copy).card(Role.EMBEDDING)
    data = bytearray((models_copy / card.file).read_bytes())
    data[len(data) // 2] ^= 1
    (models_copy / card.file).write_bytes(data)
    with pytest.raises(OperatorError, match=rf"{card.file}.*is not model {card.id}"):
        load_model(card, models_copy)


def test_a_missing_file_is_refused_by_name(models_copy):
    card = load_manifest(models_copy).card(Role.DETECTOR)
    (models_copy / card.file).unlink()
    with pytest.raises(OperatorError, match=rf"{card.file}.*cannot be read"):
        read_model(card, models_copy)


def test_a_release_that_is_damaged_is_to_be_installed_again(models_copy, monkeypatch):
    monkeypatch.setenv("KIOSK_ASSETS", str(models_copy.parent))
    card = load_manifest().card(Role.DETECTOR)
    (models_copy / card.file).write_bytes(b"damaged")
    with pytest.raises(OperatorError, match="Install the models again"):
        read_model(card, models_copy)
    with pytest.raises(OperatorError, match="Install the models again"):
        read_model(card)


def test_a_file_outside_the_models_folder_is_refused(models_copy):
    def outside(document):
        document["models"][0]["file"] = "../face_detector.tflite"

    card = load_manifest(edited(models_copy, outside)).models[0]
    with pytest.raises(OperatorError, match="outside"):
        read_model(card, models_copy)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d["models"][0].pop("licence"), "licence"),
        (lambda d: d["models"][0].update(surprise=1), "surprise"),
        (lambda d: d["models"][0].update(commercial="maybe"), "maybe"),
        (lambda d: d.update(format=2), "format"),
        (lambda d: d["models"].append(d["models"][0]), "two models for one role"),
    ],
)
def test_a_manifest_that_is_not_one_is_refused_with_the_field(models_copy, change, complaint):
    with pytest.raises(OperatorError, match=complaint):
        load_manifest(edited(models_copy, change))


def test_a_missing_manifest_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(OperatorError, match=r"manifest\.json.*cannot be read"):
        load_manifest(tmp_path)


def test_a_missing_role_or_threshold_is_named(models_copy):
    manifest = load_manifest(edited(models_copy, lambda d: d.update(models=d["models"][:1])))
    with pytest.raises(OperatorError, match="embedding"):
        manifest.card(Role.EMBEDDING)
    with pytest.raises(OperatorError, match="'match'"):
        manifest.models[0].threshold("match")


def test_production_refuses_what_may_not_be_sold_until_the_operator_names_it():
    manifest = load_manifest()
    unclear = [card.id for card in manifest.models if card.commercial != "yes"]
    assert unclear
    with pytest.raises(OperatorError) as refusal:
        check_mode(manifest, "production")
    assert all(name in str(refusal.value) for name in unclear)
    assert "models.accept_without_leave" in refusal.value.do
    assert "kiosk.toml" in refusal.value.do
    with pytest.raises(OperatorError, match=unclear[-1]):
        check_mode(manifest, "production", unclear[:-1])
    check_mode(manifest, "production", unclear)
    check_mode(manifest, "demo")


def test_the_assets_can_be_somewhere_else(monkeypatch, tmp_path):
    monkeypatch.setenv("KIOSK_ASSETS", str(tmp_path))
    assert assets_dir() == tmp_path


def test_the_shipped_false_match_rates_carry_a_gallery_of_a_thousand_and_no_million():
    card = load_manifest().card(Role.EMBEDDING)
    assert card.false_matches.set_by
    assert all(
        rate <= upper for rate, upper in zip(card.false_matches.fmr, card.false_matches.upper, strict=True)
    )
    thresholds = thresholds_of(card)
    assert thresholds.match_among(10) == thresholds.match < thresholds.match_among(1000)
    assert thresholds.match_among(10**6) is None
    assert thresholds.match_among(10**6 // 10**4, digits_given=True) is not None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda card: card.pop("false_matches"), "no false match rates"),
        (lambda card: card["false_matches"]["upper"].reverse(), "rates descend"),
        (lambda card: card["thresholds"]["promised_fpir"].update(value=0), "promised_fpir is 0"),
    ],
)
def test_thresholds_that_are_missing_or_impossible_are_the_operators_to_mend(models_copy, change, complaint):
    def broken(document):
        change(next(card for card in document["models"] if card["role"] == "embedding"))

    with pytest.raises(OperatorError, match=complaint):
        thresholds_of(load_manifest(edited(models_copy, broken)).card(Role.EMBEDDING))


def test_production_asks_for_a_word_about_every_network_that_was_added():
    """Whoever can write into the folder can write "commercial: yes" too."""
    manifest = load_manifest()
    card = next(card for card in manifest.models if card.commercial == "yes")
    unclear = [other.id for other in manifest.models if other.commercial != "yes"]
    added = msgspec.structs.replace(manifest, added=frozenset({card.id}))
    with pytest.raises(OperatorError, match=f"{card.id}.*added here"):
        check_mode(added, "production", unclear)
    check_mode(added, "production", [*unclear, card.id])
