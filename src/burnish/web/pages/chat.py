"""Chat with the champion: replies as they come, thumbs and corrections as feedback."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from burnish.config import InputError
from burnish.serve.protocol import ChatRequest, FeedbackRequest
from burnish.serve.security import Access
from burnish.web.site import page, site_of

RULES: dict[tuple[str, str], Access] = {
    ("GET", "/chat"): "token",
    ("POST", "/chat/replies"): "token",
    ("POST", "/chat/feedback"): "token",
}

router = APIRouter()


@router.get("/chat")
def chat(request: Request) -> Response:
    """The page; without a champion it says how to get one."""
    try:
        ref = site_of(request).champion.locate().ref
    except InputError:
        ref = None
    return page(request, "chat.html", ref=ref)


@router.post("/chat/replies")
async def replies(body: ChatRequest, request: Request) -> Response:
    """A reply to a conversation, as OpenAI's API words it."""
    service = await site_of(request).champion.service()
    return await service.chat(body, request)


@router.post("/chat/feedback")
async def feedback(body: FeedbackRequest, request: Request) -> Response:
    """Keep what a person says about a reply in the registry."""
    service = await site_of(request).champion.service()
    return await service.feedback(body, request)
