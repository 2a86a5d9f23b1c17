from __future__ import annotations

from pathlib import Path

import pypdf
import pytest

from burnish.config import InputError
from burnish.sources.documents import html_text, pdf_text

PAGE = """<html><head><title>Lima</title></head><body>
<nav><a href="/">Home</a> <a href="/about">About us</a> <a href="/login">Log in</a></nav>
<article><h1>Lima</h1><p>{text}</p><p>It was founded in 1535 on the coast of the Pacific.</p>
</article><footer>Cookie settings. All rights reserved.</footer></body></html>"""


def test_main_text_of_a_page(tmp_path: Path) -> None:
    said = (
        "Lima is the capital of Peru, and its largest city by far; ten million people live there."
    )
    (tmp_path / "x.html").write_text(PAGE.format(text=said))
    text = html_text(tmp_path / "x.html", "utf-8")
    assert said in text
    assert "founded in 1535" in text
    assert "Log in" not in text
    assert "Cookie" not in text


def test_a_chinese_page_in_gb18030(tmp_path: Path) -> None:
    said = "利马是秘鲁的首都，也是该国最大的城市，有一千万人住在那里，工业和商业都很发达。"
    (tmp_path / "x.html").write_bytes(PAGE.format(text=said).encode("gb18030"))
    assert said in html_text(tmp_path / "x.html", "gb18030")


def test_pages_without_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.html").write_text("<html><body><script>1</script></body></html>")
    with pytest.raises(InputError, match=r"x\.html: no main text found"):
        html_text(tmp_path / "x.html", "utf-8")


def pdf(path: Path, *pages: str) -> Path:
    """A PDF with one line of Helvetica on each page, written by hand."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for i, text in enumerate(pages):
        content = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET" if text else ""
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Contents {5 + 2 * i} 0 R /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    data, places = "%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n"
    path.write_text(data + head + table + end)
    return path


def test_text_of_a_pdf(tmp_path: Path) -> None:
    path = pdf(tmp_path / "x.pdf", "Lima is the capital.", "", "Cusco is not.")
    assert pdf_text(path) == "Lima is the capital.\n\nCusco is not."


def test_pdfs_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no text layer"):
        pdf_text(pdf(tmp_path / "scan.pdf", "", ""))
    whole = pdf(tmp_path / "x.pdf", "Lima")
    (tmp_path / "torn.pdf").write_bytes(whole.read_bytes()[:200])
    with pytest.raises(InputError, match=r"torn\.pdf: cannot be read as PDF"):
        pdf_text(tmp_path / "torn.pdf")
    (tmp_path / "no.pdf").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be read as PDF"):
        pdf_text(tmp_path / "no.pdf")


def test_passwords(tmp_path: Path) -> None:
    """A file that anybody may read is read; one that wants a password is refused."""
    whole = pdf(tmp_path / "x.pdf", "Lima")
    for name, password in (("free.pdf", ""), ("locked.pdf", "secret")):
        writer = pypdf.PdfWriter(clone_from=whole)
        writer.encrypt(user_password=password, owner_password="owner", algorithm="RC4-128")
        writer.write(tmp_path / name)
    assert pdf_text(tmp_path / "free.pdf") == "Lima"
    with pytest.raises(InputError, match="wants a password"):
        pdf_text(tmp_path / "locked.pdf")
