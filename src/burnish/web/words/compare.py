"""What the pages that compare models say."""

COMPARE = {
    "compare": ("Compare", "比较"),
    "compare_note": (
        "Ask two models the same and choose the better reply. Which model is which is told after "
        "the vote; the order is drawn anew each time.",
        "向两个模型提出同一问题，选出更好的回答。投票后才揭晓模型身份；左右顺序每次随机。",
    ),
    "compare_none": (
        "There is no pair of models yet: runs make some, and so does burnish models register.",
        "还没有两个可比较的模型：运行会产出模型，也可用 burnish models register 登记。",
    ),
    "model_a": ("One model", "模型一"),
    "model_b": ("Another one", "模型二"),
    "voter": ("Your name", "你的名字"),
    "question": ("Question to both", "向两个模型提问"),
    "ask_both": ("Ask both", "提问"),
    "side_left": ("Left", "左"),
    "side_right": ("Right", "右"),
    "vote_left": ("Left is better", "左边更好"),
    "vote_tie": ("They are equal", "不相上下"),
    "vote_right": ("Right is better", "右边更好"),
    "vote_label": ("Your vote", "投票"),
    "vote_keys": (
        "Keys: 1 left, 2 equal, 3 right; N for the next question.",
        "快捷键：1 左、2 平、3 右；N 提下一个问题。",
    ),
    "vote_kept": ("Kept. Left was {left}, right was {right}.", "已保存。左：{left}，右：{right}。"),
    "vote_named": ("Give your name first: each vote has its voter.", "请先填写名字：每票都记名。"),
    "reply_cut": ("the reply was cut off", "回答中断"),
    "no_reply": ("No reply", "没有回答"),
    "models_loading": ("The models are being loaded …", "正在加载模型……"),
    "ratings": ("Ratings", "评级"),
    "ratings_note": (
        "Bradley-Terry ratings of all votes on Elo's scale (400 points are odds of ten to one), "
        "with 95 % intervals; a tie is half a win for each.",
        "全部投票的 Bradley-Terry 评级，采用 Elo 尺度（400 分相当于十比一的胜率），附 95 % 区间；"
        "平局各算半胜。",
    ),
    "ratings_none": ("No votes yet.", "还没有投票。"),
    "ratings_apart": (
        "The votes do not connect all models: only those of one league can be compared, and a "
        "model that only won, or only lost, has no rating yet.",
        "投票尚未连通所有模型：只有同组可比；只赢或只输的模型暂无评级。",
    ),
    "league_n": ("League {number}", "第 {number} 组"),
    "league_none": ("No rating yet", "暂无评级"),
    "ratings_file": (
        "Votes become preference records with their voter in {path}; fit stages take that file.",
        "投票会连同投票人写成偏好记录：{path}；训练阶段可直接使用该文件。",
    ),
    "col_rating": ("Rating", "评级"),
    "col_votes": ("Votes", "票数"),
    "col_won": ("Won", "胜"),
    "col_tied": ("Tied", "平"),
    "ab_list": ("A/B experiments", "A/B 实验"),
    "ab_list_note": (
        "Two versions in service. The test may be looked at after every outcome.",
        "两个版本同时服务。该检验可在每个结果之后随时查看。",
    ),
    "ab_list_none": (
        "No experiments yet; start one with: burnish ab start NAME A B",
        "还没有实验。可用以下命令开始：burnish ab start NAME A B",
    ),
    "ab_title": ("Experiment {name}", "实验 {name}"),
    "ab_between": (
        "{challenger} against {incumbent}; {share} of users get {challenger}.",
        "{challenger} 对阵 {incumbent}；{share} 的用户使用 {challenger}。",
    ),
    "ab_share": ("Share", "占比"),
    "ab_state_open": ("goes on", "进行中"),
    "ab_state_ended": ("ended", "已结束"),
    "ab_state_decided": ("decided; end it to record the verdict", "已有结论；结束后记录裁决"),
    "ab_promoted": ("the challenger is better", "挑战者更好"),
    "ab_kept": ("the incumbent stays", "保留原版本"),
    "ab_undecided": ("undecided", "未定"),
    "ab_outcomes": ("{count} outcomes looked at", "已查看 {count} 个结果"),
    "ab_course": ("Course of the difference", "差异的变化过程"),
    "ab_course_note": (
        "Challenger less incumbent after each outcome, with the interval that covers the truth at "
        "all times together ({share}). The dashed line is no difference.",
        "每个结果之后挑战者与原版本之差，及在所有时刻同时覆盖真值的区间（{share}）。虚线表示无差异。",
    ),
    "ab_course_none": (
        "Too few users of each arm for an interval: {least} are needed.",
        "每组用户太少，尚无区间：需要 {least} 个。",
    ),
    "ab_difference": ("difference", "差异"),
    "ab_none": ("no difference", "无差异"),
    "ab_standing": ("Where each metric stands", "各指标现状"),
    "col_incumbent": ("Incumbent", "原版本"),
    "col_challenger": ("Challenger", "挑战者"),
    "col_p": ("p, valid at any time", "p（随时有效）"),
    "col_users": ("Users", "用户"),
    "ab_unreadable": (
        "{count} feedback rows had no number and were passed over.",
        "{count} 条反馈没有数值，已略过。",
    ),
    "ab_end": ("End it here", "就此结束"),
    "ab_end_note": (
        "The verdict goes into the registry; an experiment that is open is recorded as undecided.",
        "裁决将写入登记库；未定的实验记为未定。",
    ),
    "ab_upload": ("Outcomes from a file", "从文件导入结果"),
    "ab_upload_note": (
        "Rows of request, arm, user, value, metrics ({accepted}, at most 1 MiB). A request counts "
        "once.",
        "每行含 request、arm、user、value、metrics（{accepted}，不超过 1 MiB）。"
        "同一 request 只计一次。",
    ),
    "ab_upload_file": ("File", "文件"),
    "ab_upload_do": ("Take them", "导入"),
    "ab_taken": ("{new} taken, {known} known already.", "新增 {new} 条，已有 {known} 条。"),
}
