"""Words of `identity`: who makes models, what they are called, and what one calls them."""

from __future__ import annotations

VENDOR = (
    r"(?:openai|open ai|anthropic|google(?: deepmind| research| ai)?|deepmind|meta(?: ai)?|facebook|microsoft|"
    r"alibaba(?: cloud)?|mistral(?: ai)?|baidu|tencent|bytedance|deepseek|xai|cohere|nvidia|hugging ?face|"
    r"stability ai|zhipu(?: ai)?|moonshot(?: ai)?)"
)
MODEL = (
    r"(?:chat-?gpt|gpt-?\d\w*(?:\.\d)?(?:-\w+)*|claude|gemini|bard|ll?a(?:v|m)a(?:-[\w.]+)*|vicuna|qwen[\w.-]*|"
    r"copilot|mistral|grok|deepseek|internvl\w*|minigpt[\w-]*|instructblip|ernie|kimi|pixtral|alpaca|gemma|"
    r"bing(?: chat)?|llama[ -]?\d)"
)
AI = (
    r"(?:ai|a\.i\.|artificial intelligence|model|lmm|llm|vlm|mllm|assistant|chat-?bot|bot|system|program|"
    r"language model|network)"
)
MADE = r"(?:develop|train|ma[dk]e|creat|buil[td]|design|power|tun|fine-tun|releas|program|provid|host|own)\w*"
