"""What cleaning a corpus does."""

from __future__ import annotations

from pydantic import NonNegativeInt

from burnish.cleaning.boilerplate import BoilerplateSettings
from burnish.cleaning.language import LanguageSettings
from burnish.cleaning.normalise import NormaliseSettings
from burnish.cleaning.paragraphs import ParagraphSettings
from burnish.cleaning.pii import PiiSettings
from burnish.cleaning.quality import QualitySettings
from burnish.config import Settings
from burnish.selection.dedup import DedupSettings


class CleanSettings(Settings):
    """The steps in their order; null leaves one out.

    Normalise, boilerplate, language, quality, pii, then exact duplicates of documents, ``near``
    ones, and ``paragraphs`` that a longer document has too. The report shows ``examples`` removed
    documents of each step.
    """

    normalise: NormaliseSettings = NormaliseSettings()
    boilerplate: BoilerplateSettings | None = BoilerplateSettings()
    language: LanguageSettings | None = LanguageSettings()
    quality: QualitySettings | None = QualitySettings()
    pii: PiiSettings | None = PiiSettings()
    near: DedupSettings | None = DedupSettings()
    paragraphs: ParagraphSettings | None = ParagraphSettings()
    examples: NonNegativeInt = 3
