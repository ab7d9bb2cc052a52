"""The XML of a product as texts by tag, whatever bytes come under its name."""

from __future__ import annotations

import re
from collections import defaultdict
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from carbonmap.errors import InputError

MOST_BYTES = 5_000_000
"""Of a product's XML; a real one has 2,500."""

MOST_ELEMENTS = 10_000
"""Of a product's XML; a real one has 70. Five megabytes of them would take 600 in memory."""

ROOT = "ProductMetaData"

NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?"
"""A decimal number; Python's own reading would also take ``nan``, ``1_0`` and Arabic digits."""

XML_ENCODING = re.compile(r"""^<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}["']([\w.-]{1,40})["']""")

BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

ENCODINGS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16-le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "utf-16-be": "utf-16-be",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "iso-8859-1": "latin-1",
    "latin-1": "latin-1",
    "latin1": "latin-1",
    "windows-1252": "cp1252",
    "cp1252": "cp1252",
    "gb2312": "gb18030",
    "gb-2312-80": "gb18030",
    "gbk": "gb18030",
    "cp936": "gb18030",
    "gb18030": "gb18030",
    "big5": "cp950",
    "cp950": "cp950",
}
"""What an XML may say that it is in, with - for _, and how that is read: GB 18030 reads what its
elders can hold, and what programs wrote beyond; code page 950 does so for Big5. Python knows
others that are for other things than files (``unicode_escape``, ``punycode``), and the last takes
time with the square of what it reads."""


def elements(content: bytes) -> dict[str, list[str]]:
    """Texts by tag of the elements right below the root.

    Raises:
        InputError: it is too large, no XML, in an encoding of which no product is, of something
            else, or declares entities.
    """
    if len(content) > MOST_BYTES:
        raise InputError(f"it has {len(content):,} bytes; a product's metadata have a few thousand")
    if (count := content.count(b"<")) > 2 * MOST_ELEMENTS:
        raise InputError(f"it has {count:,} tags; a product's metadata have about 140")
    try:
        root = fromstring(_decoded(content), forbid_dtd=True)
    except DefusedXmlException:
        raise InputError(
            "it has a DOCTYPE or entities, which no product has and we never read"
        ) from None
    except (ParseError, ValueError) as error:
        raise InputError(f"it is no XML: {error}; fetch the product again") from None
    if root.tag != ROOT:
        raise InputError(f"its root is <{root.tag[:40]}>; a GF-1 product's is <{ROOT}>")
    texts = defaultdict[str, list[str]](list)
    for element in root:
        texts[str(element.tag)].append((element.text or "").strip())
    return dict(texts)


def _decoded(content: bytes) -> str:
    """Text of an XML, of which expat itself reads neither GB 2312 nor GBK."""
    codec = next((c for bom, c in BOMS.items() if content.startswith(bom)), None)
    if codec is None:
        declared = XML_ENCODING.match(content[:300].decode("latin-1"))
        said = declared[1].lower() if declared else "utf-8"
        codec = ENCODINGS.get(said.replace("_", "-"))
        if codec is None:
            raise InputError(
                f"it says that it is in the encoding {said!r}; want utf-8, utf-16, ascii, "
                f"iso-8859-1, windows-1252, gb2312, gbk, gb18030 or big5: save it as UTF-8"
            )
    try:
        return content.decode(codec)
    except UnicodeError:
        raise InputError(
            f"its bytes are not {codec}, the encoding in which it says it is written"
        ) from None
