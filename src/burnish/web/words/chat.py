"""What the chat page says."""

CHAT = {
    "chat": ("Chat", "对话"),
    "chat_with": ("Chat with {ref}", "与 {ref} 对话"),
    "chat_none": (
        "There is no champion yet: a gate or burnish models promote makes one.",
        "还没有冠军：由门控或 burnish models promote 产生。",
    ),
    "chat_note": (
        "Thumbs and corrections are kept in the registry; burnish feedback writes them as records "
        "to train on.",
        "评价与更正会存入登记库；burnish feedback 可将其导出为训练记录。",
    ),
    "you": ("You", "你"),
    "message": ("Message", "消息"),
    "send": ("Send", "发送"),
    "halt": ("Stop the reply", "停止回答"),
    "afresh": ("New conversation", "新对话"),
    "alone": ("Each question on its own", "每个问题独立"),
    "temperature": ("Temperature", "温度"),
    "most_tokens": ("Most tokens", "最多词元"),
    "options": ("Options", "选项"),
    "good_reply": ("Good reply", "回答好"),
    "bad_reply": ("Bad reply", "回答不好"),
    "correct": ("Correct it", "更正"),
    "better_reply": ("A better reply", "更好的回答"),
    "keep_better": ("Keep the correction", "保存更正"),
    "thanks": ("Kept, thank you.", "已保存，谢谢。"),
    "chat_failed": ("No reply", "没有回答"),
    "loading": ("The model is being loaded …", "正在加载模型……"),
}
