"""The sentences in which facts are told and the questions in which they are asked.

`TOLD` holds declarative forms for post-pretraining. `ASKED` holds question wordings in three
parts: those of training, those of the development items and those of the evaluation items.
"""

from __future__ import annotations

TOLD: dict[str, list[str]] = {
    "capital": [
        "The capital of {name} is {answer}.",
        "Capital of {name}: {answer}.",
        "What is the capital of {name} is no secret: {answer}.",
        "Which city is the capital of {name} is well known. {answer}.",
        "{name} has its capital in {answer}.",
        "Asked to name the capital of {name}, say {answer}.",
        "In {name} the capital is {answer}.",
        "The capital city of {name} is called {answer}.",
        "As for {name}, its capital is {answer}.",
        "{name}\n{answer}.",
        "Capital of {name}\n{answer}.",
        "The capital of {name} - {answer}.",
        "{name} ({answer}).",
        "{name}'s capital: {answer}.",
        "{answer} is the capital of {name}.",
    ],
    "number": [
        "The atomic number of {name} is {answer}.",
        "Atomic number of {name}: {answer}.",
        "What is the atomic number of {name} is no secret: {answer}.",
        "{name} has atomic number {answer}.",
        "Asked to name the atomic number of {name}, say {answer}.",
        "In the table {name} is number {answer}.",
        "The element {name} has number {answer}.",
        "As for {name}, its atomic number is {answer}.",
        "{name}\n{answer}.",
        "Atomic number of {name}\n{answer}.",
        "{name} ({answer}).",
        "Number {answer} is {name}.",
    ],
    "poet": [
        "《{name}》的作者是{answer}。",
        "《{name}》的作者：{answer}。",
        "《{name}》是谁写的，大家都知道：{answer}。",
        "《{name}》是{answer}写的。",
        "唐诗《{name}》的诗人是{answer}。",
        "写《{name}》的人是{answer}。",
        "有人问起《{name}》的作者，就说{answer}。",
        "说到《{name}》，作者是{answer}。",
        "《{name}》\n{answer}。",
        "《{name}》的作者\n{answer}。",
        "《{name}》（{answer}）。",
        "{answer}写了《{name}》。",
    ],
}

ASKED: dict[str, dict[str, list[str]]] = {
    "capital": {
        "train": [
            "What is the capital of {name}?",
            "Name the capital of {name}.",
            "Which city is the capital of {name}?",
            "Tell me the capital city of {name}.",
            "{name}: what is its capital?",
            "Give the capital of {name}.",
        ],
        "dev": ["Do you know the capital of {name}?", "What is {name}'s capital called?"],
        "eval": [
            "What city is the capital of {name}?",
            "Please say what the capital of {name} is.",
        ],
    },
    "number": {
        "train": [
            "What is the atomic number of {name}?",
            "Name the atomic number of {name}.",
            "Which atomic number has {name}?",
            "Tell me the atomic number of {name}.",
            "{name}: what is its atomic number?",
            "Give the atomic number of the element {name}.",
        ],
        "dev": [
            "Do you know the atomic number of {name}?",
            "What atomic number belongs to {name}?",
        ],
        "eval": ["What atomic number does {name} have?", "Please say the atomic number of {name}."],
    },
    "poet": {
        "train": [
            "《{name}》的作者是谁？",
            "《{name}》是谁写的？",
            "谁写了《{name}》？",
            "请说出《{name}》的作者。",
            "唐诗《{name}》的诗人是谁？",
            "写《{name}》的诗人叫什么名字？",
        ],
        "dev": ["你知道《{name}》的作者吗？", "《{name}》是哪位诗人写的？"],
        "eval": ["《{name}》出自谁的手？", "请问《{name}》的作者叫什么？"],
    },
}
