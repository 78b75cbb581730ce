"""Chat templates by name, for `--chat-template-kwargs '{"chat_template": "vicuna_v1"}'`.

A model's own template is the default. The llava-hf checkpoints of LLaVA-1.5 carry one without the system sentence that
the model was trained with, so the paper's runs need the original: haotian-liu/LLaVA `conversation.py`, conv
`vicuna_v1` (Apache-2.0), `{system} USER: <image>\\n{text} ASSISTANT:`, with `</s>` after an assistant's turn. The BOS
token comes from the tokenizer.
"""

from __future__ import annotations

_PICTURES_AND_TEXT = (
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }}{% endfor %}"
)


def _vicuna(default_system: str) -> str:
    """FastChat's ADD_COLON_TWO: a system message of the conversation replaces the default one."""
    return (
        "{% if messages[0]['role'] == 'system' %}{% set turns = messages[1:] %}"
        "{% for part in messages[0]['content'] %}{{ part['text'] }}{% endfor %}"
        "{% else %}{% set turns = messages %}{{ " + repr(default_system) + " }}{% endif %}{{ ' ' }}"
        "{% for message in turns %}{% if message['role'] == 'assistant' %}"
        "{{ 'ASSISTANT: ' }}" + _PICTURES_AND_TEXT + "{{ '</s>' }}"
        "{% else %}{{ 'USER: ' }}" + _PICTURES_AND_TEXT + "{{ ' ' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    )


RAW = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""No template at all, for text models that were trained on plain prompts."""
TEMPLATES = {
    "raw": RAW,
    "vicuna_v1": _vicuna(
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    ),
    "llava_v1": _vicuna(
        "A chat between a curious human and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the human's questions."
    ),
}
