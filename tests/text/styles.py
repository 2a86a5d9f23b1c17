"""Chat templates in the styles of well-known model families, short, with hand-written labels.

``LABELS`` gives, for each style, what the conversation of the test becomes; the text between « and
» is trained.
"""

from __future__ import annotations

_FOR = "{% for m in messages %}"
_END = "{% endfor %}"

STYLES = {
    "headers": (
        "{{ bos_token }}" + _FOR + "{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}" + _END
        + "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "generation marks": (
        "{{ bos_token }}" + _FOR + "{% if m.role == 'assistant' %}{{ '<|assistant|>' }}"
        "{% generation %}{{ m.content + '<|end|>' }}{% endgeneration %}"
        "{% else %}{{ '<|user|>' + m.content + '<|end|>' }}{% endif %}" + _END
        + "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
    "chatml": (
        _FOR + "{{ '<s>' + m.role + '\\n' + m.content + '</s>' + '\\n' }}" + _END
        + "{% if add_generation_prompt %}{{ '<s>assistant\\n' }}{% endif %}"
    ),
    "default system": (
        "{% if messages[0].role != 'system' %}{{ '<s>system\\nBe kind.</s>\\n' }}{% endif %}"
        + _FOR + "{{ '<s>' + m.role + '\\n' + m.content + '</s>' + '\\n' }}" + _END
        + "{% if add_generation_prompt %}{{ '<s>assistant\\n' }}{% endif %}"
    ),
    "trimmed": (
        "{{ bos_token }}" + _FOR
        + "{{ '<s>' + m.role + '</s>\\n\\n' + m.content | trim + '<|end|>' }}" + _END
        + "{% if add_generation_prompt %}{{ '<s>assistant</s>\\n\\n' }}{% endif %}"
    ),
    "renamed": (
        "{{ bos_token }}" + _FOR + "{% set r = 'model' if m.role == 'assistant' else m.role %}"
        "{{ '<s>' + r + '\\n' + m.content | trim + '</s>\\n' }}" + _END
        + "{% if add_generation_prompt %}{{ '<s>model\\n' }}{% endif %}"
    ),
    "brackets": (
        _FOR + "{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}" + _END
    ),
    "lines": (
        _FOR + "{{ '<|' + m.role + '|>\\n' + m.content + eos_token + '\\n' }}" + _END
        + "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
    ),
    "plain words": (
        _FOR + "{% if m.role == 'user' %}{{ 'User: ' + m.content + '\\n' }}"
        "{% else %}{{ 'Bot: ' + m.content + '\\n' }}{% endif %}" + _END
        + "{% if add_generation_prompt %}{{ 'Bot:' }}{% endif %}"
    ),
    "no prompt": (
        _FOR + "{{ '### ' + m.role + ':\\n' + m.content + '\\n' }}"
        "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}" + _END
    ),
    "empty thoughts": (
        _FOR + "{{ '<s>' + m.role + '\\n' }}{% if m.role == 'assistant' and loop.last %}"
        "{{ '<t></t>' }}{% endif %}{{ m.content + '</s>\\n' }}" + _END
        + "{% if add_generation_prompt %}{{ '<s>assistant\\n' }}{% endif %}"
    ),
    "role only": (
        "{{ bos_token }}" + _FOR + "{% if m.role == 'user' %}<|user|>{{ m.content }}"
        "{% else %}<|assistant|>{{ m.content }}{% endif %}" + _END
        + "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    ),
}  # fmt: skip

LABELS = {
    "headers": "<|bos|><|user|>Hi<|end|><|assistant|>«Yo<|end|>»<|user|>So?<|end|>"
    "<|assistant|>«No<|end|>»",
    "generation marks": "<|bos|><|user|>Hi<|end|><|assistant|>«Yo<|end|>»<|user|>So?<|end|>"
    "<|assistant|>«No<|end|>»",
    "chatml": "<s>user\nHi</s>\n<s>assistant\n«Yo</s>»\n<s>user\nSo?</s>\n<s>assistant\n«No</s>»",
    "default system": "<s>system\nBe kind.</s>\n<s>user\nHi</s>\n<s>assistant\n«Yo</s>»\n"
    "<s>user\nSo?</s>\n<s>assistant\n«No</s>»",
    "trimmed": "<|bos|><s>user</s>\n\nHi<|end|><s>assistant</s>\n\n«Yo<|end|>»"
    "<s>user</s>\n\nSo?<|end|><s>assistant</s>\n\n«No<|end|>»",
    "renamed": "<|bos|><s>user\nHi</s>\n<s>model\n«Yo</s>»\n<s>user\nSo?</s>\n<s>model\n«No</s>»",
    "brackets": "<|bos|>[INST] Hi [/INST]« Yo <|end|>»<|bos|>[INST] So? [/INST]« No <|end|>»",
    "lines": "<|user|>\nHi<|end|>\n<|assistant|>\n«Yo<|end|>»\n<|user|>\nSo?<|end|>\n"
    "<|assistant|>\n«No<|end|>»",
    "plain words": "User: Hi\nBot:« Yo»\nUser: So?\nBot:« No<|end|>»",
    "no prompt": "### user:\nHi\n### assistant:\n«Yo\n<|end|>»### user:\nSo?\n"
    "### assistant:\n«No\n<|end|>»",
    "empty thoughts": "<s>user\nHi</s>\n<s>assistant\n«Yo</s>»\n<s>user\nSo?</s>\n"
    "<s>assistant\n«<t></t>No</s>»",
    "role only": "<|bos|><|user|>Hi<|assistant|>«Yo»<|user|>So?<|assistant|>«No<|end|>»",
}
