from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from burnish.store import manifest
from burnish.store.errors import CorruptError


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.bin").write_bytes(bytes(range(200)))
    (tmp_path / "sub" / "b.bin").write_bytes(b"b" * 50)
    manifest.seal(tmp_path)
    manifest.verify(tmp_path)
    return tmp_path


def test_manifest_content(sealed: Path) -> None:
    content = json.loads((sealed / "manifest.json").read_bytes())
    # sha256 of fifty letters b, from sha256sum.
    digest = "c01a9baa0f6b59a5a523eb9bd800dfcd56815f9266aa5f923e9bc1520f6712f2"
    assert sorted(content["files"]) == ["a.bin", "sub/b.bin"]
    assert content["files"]["sub/b.bin"] == {"sha256": digest, "size": 50}


def test_flipped_byte_is_found(sealed: Path) -> None:
    data = bytearray((sealed / "a.bin").read_bytes())
    for offset in random.Random(0).sample(range(len(data)), 20):
        data[offset] ^= 1
        (sealed / "a.bin").write_bytes(data)
        with pytest.raises(CorruptError, match=r"a\.bin has other content"):
            manifest.verify(sealed)
        manifest.verify(sealed, deep=False)
        data[offset] ^= 1
    (sealed / "a.bin").write_bytes(data)
    manifest.verify(sealed)


def test_every_reason_is_listed(sealed: Path) -> None:
    (sealed / "a.bin").write_bytes(b"")
    (sealed / "sub" / "b.bin").unlink()
    (sealed / "extra").write_bytes(b"x")
    with pytest.raises(CorruptError) as info:
        manifest.verify(sealed, deep=False)
    assert info.value.reasons == (
        "sub/b.bin is missing",
        "extra is not in the manifest",
        "a.bin has 0 bytes where the manifest says 200",
    )


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"files": {}}', '{"version": 1, "files": []}', "[" * 100_000,
     '{"version": 1, "files": {"a.bin": {"size": "200", "sha256": ""}}}'],
)  # fmt: skip
def test_damaged_manifest(sealed: Path, text: str) -> None:
    (sealed / "manifest.json").write_text(text)
    with pytest.raises(CorruptError, match=r"manifest\.json is damaged"):
        manifest.verify(sealed)


def test_unsealed_folder(tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match="never completed"):
        manifest.verify(tmp_path)


def test_names_in_a_manifest_cannot_lead_outside(sealed: Path) -> None:  # S-07
    outside = sealed.parent / "outside"
    outside.write_text("secret")
    content = json.loads((sealed / "manifest.json").read_bytes())
    content["files"]["../outside"] = {"sha256": manifest.file_hash(outside), "size": 6}
    (sealed / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(CorruptError, match=r"\.\./outside is missing"):
        manifest.verify(sealed)


def test_links_are_refused(sealed: Path) -> None:  # S-07
    os.symlink("/etc", sealed / "link")
    with pytest.raises(CorruptError, match="link is not in the manifest"):
        manifest.verify(sealed)
    with pytest.raises(CorruptError, match="link is not a plain file"):
        manifest.seal(sealed)


def test_content_fingerprint(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "sub").mkdir()
    (other / "a.bin").write_bytes(bytes(range(200)))
    (other / "sub" / "b.bin").write_bytes(b"b" * 50)
    same = manifest.content_fingerprint(sealed)
    assert manifest.content_fingerprint(other) == same  # sealed or not
    (other / "note").write_text("x")
    assert manifest.content_fingerprint(other) != same
    assert manifest.content_fingerprint(other, leave_out=frozenset({"note"})) == same
    assert manifest.content_fingerprint(other / "a.bin") == manifest.file_hash(sealed / "a.bin")
