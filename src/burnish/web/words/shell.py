"""What stands on every page."""

SHELL = {
    "skip": ("Skip to content", "跳到内容"),
    "menu": ("Pages", "页面"),
    "language": ("中文", "English"),
    "theme_auto": ("Theme: system", "主题：跟随系统"),
    "theme_light": ("Theme: light", "主题：浅色"),
    "theme_dark": ("Theme: dark", "主题：深色"),
    "login_title": ("Log in", "登录"),
    "login_note": (
        "Open the link that `burnish ui` printed, or paste its token here.",
        "请打开 `burnish ui` 打印的链接，或在此粘贴令牌。",
    ),
    "login_token": ("Token", "令牌"),
    "login_wrong": ("This is not the token of this server.", "令牌不正确。"),
    "refused_title": ("Not let in", "未获许可"),
    "error_title": ("This did not work", "操作未成功"),
    "back": ("Back", "返回"),
    "yes": ("Yes", "是"),
    "no": ("No", "否"),
}
