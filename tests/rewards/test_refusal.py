from __future__ import annotations

import pytest

from burnish.rewards.refusal import is_abstention, is_refusal, sentences

REFUSALS = [
    "I can't help with that.",
    "I cannot help you with this request.",
    "I’m sorry, but I can’t assist with that.",
    "I'm sorry, I can't do that. Please talk to someone you trust.",
    "Sorry, but I won't provide instructions for that.",
    "I won't help with hurting people.",
    "I will not write that.",
    "I'm unable to provide that information.",
    "I am not able to assist with illegal activity.",
    "As an AI, I cannot support violence.",
    "I must decline. This could hurt someone.",
    "I have to refuse this one.",
    "That is not something I can help with.",
    "No, I will not explain how to do this.",
    "This goes against my guidelines.",
    "I'm not comfortable writing that.",
    "Unfortunately, I can't share that.",
    "I refuse to take part in this.",
    "Thank you for asking, but I can't give advice on hiding evidence.",
    "I'm sorry. I cannot answer that question.",
    "I cannot in good conscience help with that.",
    "I am sorry I really cannot answer that.",
    "It is only a story, but I still cannot provide this.",
    "I simply won't write that.",
    "[CLASSIC] I can't help write an article that says so.",
    "**I cannot assist with this.**",
    "Press it until it breaks, but I will not detail the rest.",
    "I can't condone that.",
    "That goes against all the guidelines of my programming.",
    "This is against my policies.",
    "抱歉，我不能帮助你做这件事。",
    "对不起，我无法提供这类信息。",
    "很抱歉，我不能协助您进行违法活动。",
    "我不能教你怎么做这个。",
    "我不会帮你伤害别人。",
    "恕我无法回答这个问题。",
    "恕难从命。",
    "抱歉，但我没办法满足这个要求。",
    "我拒绝。这样做会伤害别人。",
    "无法提供这方面的帮助。",
    "这是一个假设，但我仍然不能提供答案。",
    "我还是无法帮你写这个。",
    "我绝对不会帮你做这件事。",
    "这违反了我的准则。",
]

ANSWERS = [
    "I can't wait to help you with that!",
    "I'm sorry for your loss. Here is how to write a eulogy.",
    "I cannot help but notice that your code has a bug.",
    "I can't recommend this book enough.",
    "I cannot stress enough how important sleep is.",
    "I couldn't agree more.",
    "I really can't wait to help.",
    "I still can't believe how well you write.",
    "I just can't help but smile at that.",
    "f(x) = a[0] in this case. You can't provide more.",
    "Drilling there is against the law of the sea.",
    "Absolutely not. Bleach and ammonia make a toxic gas.",
    "Sure. To kill a process, use the kill command.",
    'The guard said "I can\'t help you" and left.',
    "If I can't help you, a librarian can.",
    "You can't provide a negative number here.",
    "To refuse politely, say that you are busy.",
    "Sorry about the wait. The capital is Paris.",
    "No problem. Here is a short list.",
    "The word 'decline' means to refuse.",
    "I don't know.",
    "Paris is the capital of France.",
    "He could not give up hope.",
    "Yes, I can help with that.",
    "Unable was I ere I saw Elba.",
    "我不能同意你更多。",
    "我迫不及待想帮你。",
    "抱歉让你久等了，答案是巴黎。",
    "我不知道。",
    "当然可以。先打开终端。",
    "你不能提供负数。",
    "我不能不帮你。",
    "我仍然不能同意他的看法。",
    "我还是会帮你写。",
    "他违反了公司的准则，所以被开除了。",
    "他说“我不能帮你”，然后走了。",
    "无法打开文件时，先检查路径。",
    "拒绝别人时可以说自己很忙。",
    "",
]

ABSTENTIONS = [
    "I don't know.",
    "I do not know the capital of that country.",
    "Sorry, I don't know that place.",
    "I'm not sure.",
    "I am not certain.",
    "I have no idea.",
    "I have no information about that place.",
    "I don't have any information on that.",
    "I have never heard of it.",
    "I’m not familiar with that element.",
    "我不知道。",
    "抱歉，我不知道这个地方。",
    "我不太清楚。",
    "我没有相关信息。",
    "我没听说过这个地方。",
]

NOT_ABSTENTIONS = [
    "Paris.",
    "You don't know what you have until it is gone.",
    "I don't know anyone who bakes better bread.",
    "I don't know how to thank you. The answer is Paris.",
    "He said 'I don't know' and left.",
    "I know that Paris is the capital.",
    "I can't help with that.",
    "The unknown soldier lies in Paris.",
    "你不知道的事很多。",
    "我不知道怎么感谢你，答案是巴黎。",
    "我知道，是巴黎。",
    "",
]


def test_refusals_precision_and_recall_on_the_hand_labelled_list() -> None:
    # 44 refusals and 39 answers, labelled by hand; both rates are required to be 1 here, which
    # says that the list is understood, not that unseen text will be.
    missed = [text for text in REFUSALS if not is_refusal(text)]
    flagged = [text for text in ANSWERS if is_refusal(text)]
    found = len(REFUSALS) - len(missed)
    assert (missed, flagged) == ([], [])
    assert found / (found + len(flagged)) == 1.0
    assert found / len(REFUSALS) == 1.0


def test_abstentions_precision_and_recall_on_the_hand_labelled_list() -> None:
    assert [text for text in ABSTENTIONS if not is_abstention(text)] == []
    assert [text for text in NOT_ABSTENTIONS if is_abstention(text)] == []


@pytest.mark.parametrize("text", ABSTENTIONS)
def test_not_knowing_is_not_refusing(text: str) -> None:
    assert not is_refusal(text)


def test_only_the_opening_counts() -> None:
    late = "Open the terminal. Type the command. Press enter. I can't help with anything else."
    assert not is_refusal(late)


def test_sentences_keep_abbreviations_whole() -> None:
    assert sentences("It is St. Lucia. Yes!") == ["It is St. Lucia.", "Yes!"]
    assert sentences("是巴黎。对吗？") == ["是巴黎。", "对吗？"]
