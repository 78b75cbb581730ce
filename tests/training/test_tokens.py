"""Ids and labels: those of LLaVA's own code, and the prompts of generation."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import normalizers, pre_tokenizers

from engine.backends.prompting import Prompter
from engine.backends.templates import TEMPLATES
from engine.export.base import Turn
from engine.training.tokens import Writer, end_tokens
from engine.types import Message, Picture
from tests.backends.test_prompting import fake_processor, metaspace_tokenizer
from tests.backends.tiny_models import LLAVA, ONEVISION, QWEN, byte_tokenizer
from tests.training import native

pytest.importorskip("transformers")
SHOWN = (Picture(b"", "0" * 64, 72, 72, "PNG"),)
ROUNDS = [
    [("What is this?", "A red sign.")],
    [("What is it?\nSay it in two lines.", " It begins with a space.\n\nIt ends so: ")],
    [("Say </s> and <image> and <s>", "Here: fine.")],
    [("Is it red?", "Yes."), ("And round?", "No, it is not.")],
]


def llama(kind: str) -> Any:
    if kind == "byte":
        return byte_tokenizer(["<pad>", "<s>", "</s>", "<image>"], bos="<s>", eos="</s>", pad="<pad>")
    tokenizer = metaspace_tokenizer("first" if kind == "first" else "always")
    raw = tokenizer.backend_tokenizer
    if kind == "legacy":  # as llava-hf ships it: a space before every piece between special tokens
        raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        raw.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    else:  # no piece crosses a word's border, as in Llama's vocabulary
        raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=kind, split=True)
    return tokenizer


def writer(tokenizer: Any, template: str | None = None) -> Writer:
    return Writer(Prompter(fake_processor(tokenizer, template or TEMPLATES["vicuna_v1"])), end_tokens(tokenizer, None))


def turns(rounds: list[tuple[str, str]]) -> list[Turn]:
    return [turn for asked, said in rounds for turn in (Turn("user", asked), Turn("assistant", said))]


@pytest.mark.parametrize("kind", ["byte", "always", "legacy"])
@pytest.mark.parametrize("pictures", [SHOWN, ()], ids=["picture", "text"])
@pytest.mark.parametrize("rounds", [ROUNDS[0], ROUNDS[1], ROUNDS[3]], ids=["plain", "spaces", "two rounds"])
def test_ids_and_labels_are_llavas_own(kind: str, pictures: tuple[Picture, ...], rounds: Any) -> None:
    tokenizer = llama(kind)
    place = tokenizer.convert_tokens_to_ids("<image>")
    wanted, labels = native.preprocess(rounds, tokenizer, picture=bool(pictures))
    [found] = writer(tokenizer).rounds(turns(rounds), pictures)
    assert [native.IMAGE if index == place else index for index in found.ids] == wanted
    learned = [native.IGNORED] * len(found.ids)
    for start, end in found.answers:
        learned[start:end] = found.ids[start:end]
    assert learned == labels
    assert found.ids[0] == tokenizer.bos_token_id
    assert found.ids[-1] == labels[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("kind", ["byte", "always", "legacy", "first"])
@pytest.mark.parametrize("template", [TEMPLATES["vicuna_v1"], LLAVA], ids=["vicuna_v1", "llava-hf"])
def test_prompts_are_those_of_generation_and_special_strings_stay_text(kind: str, template: str) -> None:
    tokenizer = llama(kind)
    made = writer(tokenizer, template)
    asker = Prompter(fake_processor(tokenizer, template))
    for [(question, answer)] in ROUNDS[:3]:
        asked = asker.prompt([Message("user", question, SHOWN)]).token_ids
        [found] = made.rounds(turns([(question, answer)]), SHOWN)
        [(start, end)] = found.answers
        assert found.ids[:start] == asked
        assert found.ids[end - 1] == tokenizer.eos_token_id
        assert found.ids.count(tokenizer.eos_token_id) == 1
        assert found.ids.count(tokenizer.convert_tokens_to_ids("<image>")) == 1
        assert tokenizer.decode(list(found.ids[start : end - 1])).strip() == answer.strip()


def test_an_end_in_an_answer_is_text() -> None:
    tokenizer = llama("byte")
    ids = writer(tokenizer).answer("Write </s> here.")
    assert ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(list(ids[:-1])) == " Write </s> here."


@pytest.mark.parametrize("template", [QWEN, ONEVISION], ids=["qwen", "onevision"])
def test_chatml_ends_with_its_own_token_and_nothing_behind_it(template: str) -> None:
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<|vision_start|>", "<|vision_end|>"]
    tokenizer = byte_tokenizer([*specials, "<|image_pad|>"], bos=None, eos="<|im_end|>", pad="<|endoftext|>")
    processor = fake_processor(tokenizer, template)
    processor.image_token = "<|image_pad|>" if template == QWEN else "<image>"
    made = Writer(Prompter(processor), end_tokens(tokenizer, [tokenizer.convert_tokens_to_ids("<|endoftext|>")]))
    assert tokenizer.decode(list(made.answer("Yes."))) == "Yes.<|im_end|>"
    two = made.rounds(turns(ROUNDS[3]), SHOWN)
    assert sum(len(one.answers) for one in two) == 2  # in one sequence, or as a row a round
    for one in two:
        for start, end in one.answers:
            assert tokenizer.decode(list(one.ids[start:end])) in ("Yes.<|im_end|>", "No, it is not.<|im_end|>")


def test_a_template_without_end_tokens_makes_a_row_a_round() -> None:
    """llava-hf's template writes no </s> between rounds, so no one sequence could both end and go on."""
    two = writer(llama("byte"), LLAVA).rounds(turns(ROUNDS[3]), SHOWN)
    assert [len(one.answers) for one in two] == [1, 1]
