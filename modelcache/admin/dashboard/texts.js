// What the page says, in English and Chinese: the browser's language until another is chosen.

const TEXTS = {
  en: {
    otherLanguage: "中文", model: "Model", allModels: "All models", period: "Period", days: (n) => `${n} days`,
    key: "Key", keyWanted: "Key with the role admin", keyUse: "Use", keyForget: "Forget",
    keyRefused: "This service wants a valid key. It is kept in this tab only.",
    healthy: "Ready: stores and embedder answer", unhealthy: "Not ready", unreachable: "The service cannot be reached",
    hitRate: "Hit rate", queries: "Queries", saved: "Saved by hits", calls: (n) => `${n} calls of the model`,
    tokensSaved: "Tokens saved", dollars: "US dollars saved", latencyHit: "Latency of hits", latencyMiss: "Latency of misses",
    wrong: "Called wrong", ofJudged: (n) => `of ${n} judged`, hitsOf: (n, all) => `${n} of ${all} look-ups`,
    beside: (bypasses, errors) => `${bypasses} bypassed, ${errors} failed`,
    promptAndCompletion: (p, c) => `${p} asked, ${c} answered`, byListPrices: "by list prices or your own",
    quantiles: (p50, p99) => `p50 ${p50}, p99 ${p99}`, wrongInterval: (low, high) => `95 % interval ${low} to ${high}`,
    chartHits: "Hits and hit rate by day", chartSaved: "Tokens and US dollars saved by day", chartLatency: "Latency by day, p95",
    day: "Day", hits: "Hits", misses: "Misses", prompts: "Asked", completions: "Answered", usd: "US$",
    hitsByType: "Hits by type", vetoes: "Refused by rule", judged: "Wrong answers", none: "Nothing yet.",
    exact: "equal question", semantic: "same meaning", collapsed: "asked at the same time",
    feedback: "By feedback", compared: "Compared with the model's answer",
    unclear: (n) => `${n} unclear`, judgedHint: "The share of wrong answers among those judged, with its 95 % interval.",
    models: "Models", entries: "Entries", mode: "Mode",
    modeHint: "serve: hits are answered · verified: only while wrong answers keep within the error rate · shadow: looked up, never answered · off: not looked up",
    modeSet: (model, mode) => `${model} is in mode ${mode} now.`,
    entriesKept: "Entries", searchLabel: "Text of a question or an answer", order: "Order", newest: "Newest first",
    mostHits: "Most hits first", search: "Search", question: "Question", answer: "Answer", created: "Kept", more: "More",
    delete: "Delete", deleteEntry: (id) => `Delete entry ${id}`, deleteTitle: "Delete this entry?",
    deleteHint: "It answers no more, and cannot be brought back.", keep: "Keep it",
    recent: "Recently", nearMisses: "Near misses", at: "When", asked: "Asked", cached: "Cached question",
    right: "Right", wrongButton: "Wrong", confidence: (share) => `confidence ${share}`,
    wouldHave: (threshold) => `would have hit at ${threshold}`, refusedBy: (rule) => `refused by the rule ${rule}`,
    shadow: "What each threshold would have answered", threshold: "Threshold", wrongHits: "Wrong hits", equal: "equal",
    atLeast: "at least", atMost: "at most (95 %)", and: " and ", in_en: "English", in_zh: "Chinese",
    shadowNone: "Choose a model above that has been in the mode shadow or verified.",
    shadowHint: (queries, shares) => `Of ${queries} queries in the modes shadow and verified. The threshold in use for a short question is ${shares}.`,
    notLogged: "The query log is off (MODELCACHE_QUERY_LOG).",
    recorded: "noted", retired: "noted; the entry answers no more", unknown: "not noted: it was asked otherwise", gone: "the entry is gone",
    failed: (why) => `That failed: ${why}`,
  },
  zh: {
    otherLanguage: "English", model: "模型", allModels: "全部模型", period: "时段", days: (n) => `${n} 天`,
    key: "密钥", keyWanted: "具有 admin 角色的密钥", keyUse: "使用", keyForget: "清除",
    keyRefused: "本服务需要有效的密钥。密钥只保存在此标签页中。",
    healthy: "就绪：存储与嵌入模型均有应答", unhealthy: "未就绪", unreachable: "无法连接服务",
    hitRate: "命中率", queries: "查询", saved: "命中所节省", calls: (n) => `${n} 次模型调用`,
    tokensSaved: "节省的 token", dollars: "节省的美元", latencyHit: "命中延迟", latencyMiss: "未命中延迟",
    wrong: "被判为错", ofJudged: (n) => `共评判 ${n} 次`, hitsOf: (n, all) => `${all} 次查找中 ${n} 次`,
    beside: (bypasses, errors) => `绕过 ${bypasses} 次，失败 ${errors} 次`,
    promptAndCompletion: (p, c) => `输入 ${p}，输出 ${c}`, byListPrices: "按公开价或自定价格",
    quantiles: (p50, p99) => `p50 ${p50}，p99 ${p99}`, wrongInterval: (low, high) => `95% 区间 ${low} 至 ${high}`,
    chartHits: "每日命中与命中率", chartSaved: "每日节省的 token 与美元", chartLatency: "每日延迟（p95）",
    day: "日期", hits: "命中", misses: "未命中", prompts: "输入", completions: "输出", usd: "美元",
    hitsByType: "命中类型", vetoes: "被规则拒绝", judged: "错误的回答", none: "暂无。",
    exact: "问题相同", semantic: "含义相同", collapsed: "同时提问",
    feedback: "按用户反馈", compared: "与模型的回答比较",
    unclear: (n) => `${n} 次不明`, judgedHint: "已评判的回答中错误的比例及其 95% 区间。",
    models: "模型", entries: "条目", mode: "模式",
    modeHint: "serve：命中即作答 · verified：仅在错误率限度内作答 · shadow：只查找，从不作答 · off：不查找",
    modeSet: (model, mode) => `${model} 现为 ${mode} 模式。`,
    entriesKept: "条目", searchLabel: "问题或回答中的文字", order: "顺序", newest: "最新在前",
    mostHits: "命中最多在前", search: "搜索", question: "问题", answer: "回答", created: "存入时间", more: "更多",
    delete: "删除", deleteEntry: (id) => `删除条目 ${id}`, deleteTitle: "删除此条目？",
    deleteHint: "它将不再作答，且无法恢复。", keep: "保留",
    recent: "最近", nearMisses: "险些命中", at: "时间", asked: "所问", cached: "缓存的问题",
    right: "正确", wrongButton: "错误", confidence: (share) => `置信度 ${share}`,
    wouldHave: (threshold) => `阈值为 ${threshold} 时会命中`, refusedBy: (rule) => `被规则 ${rule} 拒绝`,
    shadow: "各阈值会作答多少", threshold: "阈值", wrongHits: "错误的命中", equal: "相同",
    atLeast: "至少", atMost: "至多（95%）", and: "，", in_en: "英文", in_zh: "中文",
    shadowNone: "请在上方选择一个曾处于 shadow 或 verified 模式的模型。",
    shadowHint: (queries, shares) => `基于 shadow 与 verified 模式下的 ${queries} 次查询。短问题现用的阈值：${shares}。`,
    notLogged: "查询日志已关闭（MODELCACHE_QUERY_LOG）。",
    recorded: "已记录", retired: "已记录，条目不再作答", unknown: "未记录：提问的条件不同", gone: "条目已不存在",
    failed: (why) => `操作失败：${why}`,
  },
};
const KEPT = "modelcache-language";

let language = kept() ?? (navigator.language.startsWith("zh") ? "zh" : "en");

function kept() {
  const found = localStorage.getItem(KEPT);
  return found in TEXTS ? found : null;
}

// Return a text; further arguments fill those that have gaps.
export function text(name, ...gaps) {
  const found = TEXTS[language][name];
  return typeof found === "function" ? found(...gaps) : found;
}

// Return the text of a name that may be another's, such as a rule's: itself then.
export function known(name) {
  return Object.hasOwn(TEXTS[language], name) ? text(name) : name;
}

export function locale() {
  return language === "zh" ? "zh-CN" : "en";
}

export function switchLanguage() {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem(KEPT, language);
}

// Put the texts into all that is marked with data-text, or with data-label for what has no text of its own.
export function translate() {
  document.documentElement.lang = locale();
  for (const one of document.querySelectorAll("[data-text]")) one.textContent = text(one.dataset.text);
  for (const one of document.querySelectorAll("[data-label]")) {
    one.setAttribute("aria-label", text(one.dataset.label));
    if (one instanceof HTMLInputElement) one.placeholder = text(one.dataset.label);
  }
}
