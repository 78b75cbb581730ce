"""Words of `identity`: who makes models, what they are called, and what one calls them."""

from __future__ import annotations

import re

VENDOR = (
    r"(?:openai|open ai|anthropic|google(?: deepmind| research| ai)?|deepmind|meta(?: ai)?|facebook|microsoft|"
    r"alibaba(?: cloud)?|mistral(?: ai)?|baidu|tencent|bytedance|deepseek|xai|cohere|nvidia|hugging ?face|"
    r"stability ai|zhipu(?: ai)?|moonshot(?: ai)?)"
)
MODEL = (
    r"(?:chat-?gpt|gpt-?\d\w*(?:\.\d)?(?:-\w+)*|claude|gemini|bard|ll?a(?:v|m)a(?:-[\w.]+)*|vicuna|qwen[\w.-]*|"
    r"copilot|mistral|grok|deepseek|internvl\w*|minigpt[\w-]*|instructblip|ernie|kimi|pixtral|alpaca|gemma|"
    r"bing(?: chat)?|llama[ -]?\d|gpt)"
)
AI = (
    r"(?:ai|a\.i\.|artificial intelligence|model|lmm|llm|vlm|mllm|assistant|chat-?bot|bot|system|program|"
    r"language model|network)"
)
PLAIN = (
    r"(?:openai|open ai|anthropic|deepmind|chat-?gpt|gpt-?[345]\w*|qwen[\w.-]*|llava[\w.-]*|deepseek[\w-]*|internvl\w*|"
    r"instructblip|minigpt[\w-]*)"
)
"""Names that are nothing else: not a first name, a star sign, an animal, or a shop's logo."""
ABOUT_YOU = re.compile(
    r"\b(?:are|were) you (?:an? )?(?:\w+ )?(?:ai|robot|bot|person|human|model|program|chatgpt|claude|gemini|bard|siri|"
    r"made|built|trained|from|called|the same|new)\b|\b(?:who|what|which model) (?:are|were) you\b|\byour (?:\w+ )?(?:"
    r"name|makers?|creators?|model|code|developers?|owners?|company|version|training)\b|\b(?:made|create[ds]?|built|builds?|"
    r"train(?:ed|s)?|develop(?:ed|s)?|owns?|pays|programmed|wrote|designed|behind) you\b|\b(?:were|are) you (?:\w+ )?"
    r"(?:made|built|trained|created|developed|designed)\b|\bam i (?:talking|speaking|chatting) (?:to|with)\b"
)
"""Queries about the answerer: any maker or model in the answer is then a claim about itself."""
MADE = r"(?:develop|train|ma[dk]e|creat|buil[td]|design|power|tun|fine-tun|releas|program|provid|host|own)\w*"
