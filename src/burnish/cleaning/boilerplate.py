"""What pages hold beside their text: lines that many documents share, menus, cookie notices.

The lists are of whole short lines; a sentence that only mentions cookies stays. C4 (Raffel et al.
2020, section 2.2) drops every line with "terms of use" or "cookie policy" in it, at any length.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container

from pydantic import Field, PositiveInt

from burnish.config import Settings

SHORT_LINE = 160
_LETTER = re.compile(r"[^\W\d_]")
_NOTICES_EN = (
    r"(?:this (?:web)?site |we |our (?:web)?site )?uses? (?:of )?cookies\b.*",
    r"by (?:continuing|using|browsing)\b.*\b"
    r"(?:cookies|terms of (?:use|service)|privacy policy)\b.*",
    r"(?:please )?(?:enable|turn on|activate) (?:javascript|cookies)\b.*",
    r"(?:\W*(?:terms (?:of (?:use|service)|and conditions)|privacy (?:policy|notice)|cookie policy"
    r"|cookie settings|accept (?:all )?cookies)\W*)+",
    r"(?:copyright|\(c\)|©)(?: (?:copyright|\(c\)|©))? ?\d{4}.*",
    r".{0,60}\ball rights reserved\W*",
    r"skip to (?:main )?(?:content|navigation)",
    r"(?:(?:re)?share|tweet|pin|e-?mail|print|follow us|like us)(?: (?:this|on|via)\b.{0,30})?\W*",
    r"(?:read|load|see|show|view|learn) (?:more|all|less)\W*",
    r"(?:leave a (?:comment|reply)|post a comment|reply|add to cart|back to top)\W*",
    r"continue reading\W*",
    r"(?:log|sign) ?(?:in|up|out)(?: (?:to|for|with|or) .{0,40})?\W*",
    r"(?:« ?|< ?)?(?:previous|next|newer|older)(?: (?:page|posts?|article|chapter))?\W*",
    r"(?:advertisement|sponsored|related (?:posts|articles|topics)|table of contents|loading)\W*",
)
_NOTICES_ZH = (
    r".{0,12}(?:使用|启用)\s*cookies?.{0,60}",
    r".{0,40}(?:版权所有|保留所有权利|未经(?:授权|许可|允许)(?:禁止|不得|请勿)(?:转载|复制)).{0,40}",
    r".{0,20}(?:[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼]ICP[备证]|公网安备).{0,40}",
    r"(?:\W*(?:隐私(?:政策|声明|条款)|(?:使用|服务)条款|用户协议|免责声明|法律声明|网站地图|关于我们"
    r"|联系我们|加入收藏|设为首页)\W*)+",
    r"(?:上一[篇页章]|下一[篇页章]|返回(?:顶部|首页|列表|目录)|回到顶部|加载更多|展开全文|阅读(?:全文|更多)"
    r"|查看(?:更多|全部|详情)|点击(?:此处|这里|查看|进入|下载)).{0,40}",
    r"(?:分享到|分享至|扫一扫|扫码关注|关注我们|微信公众号).{0,30}",
    r"(?:分享|转发|收藏|点赞|打印|评论|举报)\W*",
    r"(?:登录|注册|立即登录|免费注册|忘记密码|发表评论|我要评论|相关(?:文章|阅读|推荐|新闻)|热门推荐"
    r"|猜你喜欢|广告|责任编辑|责编|编辑|来源|当前位置|您的位置|您现在的位置)(?:\W.{0,60})?",
)
_NOTICE = re.compile(rf"\W*(?:{'|'.join((*_NOTICES_EN, *_NOTICES_ZH))})\W*", re.I)
_SEPARATOR = re.compile(r"\s+[|·•»›>/]\s+|\s*[|»›]\s*|(?<=[\u4e00-\u9fff])\s*[·>|]\s*|\s{2,}")
_MENU = """
home about contact blog news login register sitemap search help faq shop products services privacy
terms careers press support forum archives rss menu next previous prev up index
首页 主页 新闻 关于 关于我们 联系 联系我们 登录 注册 帮助 搜索 论坛 博客 产品 服务 下载 导航 目录
上一页 下一页 网站地图 招聘 留言 动态 公告
"""
_MENU_WORDS = frozenset(_MENU.split())


class BoilerplateSettings(Settings):
    """A line is shared where it stands in ``documents`` documents of a source at least, and in
    this ``share`` of them. Lines of more than 160 characters are text, of which one copy is to be
    kept: they are left to the search for paragraphs. ``notices`` removes menus, cookie and
    copyright lines wherever found."""

    documents: PositiveInt = 5
    share: float = Field(0.05, gt=0, le=1)
    notices: bool = True


def strip_boilerplate(
    text: str, shared: Container[int] = (), notices: bool = True
) -> tuple[str, int]:
    """The text without shared lines, notices and menus, and how many lines went.

    Lines without a letter (rules, blank lines, braces) are no boilerplate by themselves.
    """
    kept, removed = [], 0
    for line in text.split("\n"):
        key = line_key(line)
        if key is not None and (key in shared or (notices and _is_notice(line))):
            removed += 1
        else:
            kept.append(line)
    if not removed:
        return text, 0
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n"), removed


def line_keys(text: str) -> set[int]:
    """The keys of a document's distinct lines, but for those that are too long to be shared."""
    short = (line for line in text.split("\n") if len(line) <= SHORT_LINE)
    return {key for line in short if (key := line_key(line)) is not None}


def line_key(line: str) -> int | None:
    """A 64-bit hash of a line but for case and white space; None where it has no letter."""
    if not _LETTER.search(line):
        return None
    folded = " ".join(line.casefold().split())
    return int.from_bytes(hashlib.blake2b(folded.encode(), digest_size=8).digest(), "big")


def _is_notice(line: str) -> bool:
    said = line.strip()
    if len(said) > SHORT_LINE:
        return False
    return _NOTICE.fullmatch(said) is not None or _is_menu(said)


def _is_menu(line: str) -> bool:
    """Three or more short items side by side, two of which are names of usual pages.

    A row of a Markdown table begins with a bar and is none.
    """
    if line.startswith("|"):
        return False
    items = [item.strip(" .:·|>»›[]").casefold() for item in _SEPARATOR.split(line)]
    items = [item for item in items if item]
    known = sum(item in _MENU_WORDS or item.split(" ")[0] in _MENU_WORDS for item in items)
    return len(items) >= 3 and known >= 2 and max(map(len, items)) <= 30
