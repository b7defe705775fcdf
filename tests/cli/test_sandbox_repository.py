"""`kiosk sandbox repository` and `kiosk sandbox people`, as an operator and a script use them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kiosk.cli.sandbox import app


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    assert run(tmp_path, "people", "--synthetic", "3", "--references", "2").exit_code == 0
    assert run(tmp_path, "repository", "init", "--region", "north").exit_code == 0
    return tmp_path


def run(folder: Path, *arguments: str):
    return CliRunner().invoke(app, [*arguments, "--data-dir", str(folder)])


def said(folder: Path, *arguments: str):
    return json.loads(run(folder, *arguments, "--json").stdout)


def test_what_is_out_and_who_signed_it_is_said_in_words_and_as_json(shop):
    found = said(shop, "repository", "status")
    assert (found["region"], found["people"], found["references"], found["segments"]) == ("north", 3, 6, 1)
    assert (found["epoch"]["number"], found["waiting"]) == (1, 0)
    assert found["tombstones"] == {"version": 1, "tokens": 0}
    roles = {role["role"]: role for role in found["roles"]}
    assert set(roles) == {
        "root", "timestamp", "snapshot", "targets", "gallery", "tombstones", "models", "texts",
    }  # fmt: skip
    assert len(roles["root"]["keys"]) == 3
    text = run(shop, "repository", "status").stdout
    assert "region north, epoch 1" in text
    assert roles["timestamp"]["keys"][0] in text


def test_init_twice_leaves_what_is_there(shop):
    pinned = (shop / "sandbox" / "root.json").read_bytes()
    assert said(shop, "repository", "init", "--region", "north")["result"] == "already there"
    assert (shop / "sandbox" / "root.json").read_bytes() == pinned
    assert "'north', not 'south'" in str(run(shop, "repository", "init", "--region", "south").exception)


def test_publish_says_whether_there_was_anything(shop):
    assert said(shop, "repository", "publish")["result"] == "nothing to publish"
    assert said(shop, "people", "--synthetic", "4")["came"] == 1
    assert said(shop, "people")["unpublished"] == 1
    assert run(shop, "repository", "publish").stdout.startswith("published\n")
    assert said(shop, "people") == {"enrolled": 4, "withdrawn": 0, "unpublished": 0, "came": 0}
    assert "4 people enrolled" in run(shop, "people").stdout


def test_networks_are_published_whole_on_demand(shop):
    before = said(shop, "repository", "status")["models"]
    assert said(shop, "repository", "publish", "--model-files")["models"] > before
    assert said(shop, "repository", "publish", "--no-model-files")["models"] == before


def test_an_epoch_is_renewed_and_keys_are_rotated(shop):
    assert said(shop, "repository", "renew-epoch")["epoch"]["number"] == 2
    first = said(shop, "repository", "rotate-root")
    assert (first["root_version"], len(first["new_keys"])) == (2, 3)
    one = first["new_keys"][0]
    text = run(shop, "repository", "rotate-root", "--replace", one, "--replace", "gallery").stdout
    assert text.startswith("root version 3; new keys: root-")
    found = {role["role"]: role["keys"] for role in said(shop, "repository", "status")["roles"]}
    assert one not in found["root"]


def test_what_can_t_be_done_is_said_in_one_line(tmp_path):
    for command in ("status", "publish", "renew-epoch", "rotate-root"):
        assert "repository init" in str(run(tmp_path / "mistyped", "repository", command).exception)
    assert not (tmp_path / "mistyped").exists()
    assert run(tmp_path, "people", "--synthetic", "0").exit_code == 2
