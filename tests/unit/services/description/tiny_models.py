"""Vision-language models of the real classes with random weights and a few channels, saved as a model's files are.

They write nonsense, in a fraction of a second; the classes that load and run them are those of the large models.
"""

from __future__ import annotations

import importlib
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from tests.unit.services.runtime.torchvision_operators import define_missing_operators
from tokenizers import Tokenizer, decoders, models
from tokenizers.pre_tokenizers import ByteLevel

define_missing_operators()

# Few of its classes have types.
transformers: Any = importlib.import_module("transformers")

ROOM = 4096
"""Tokens that each can read and write together."""

SPREAD = 6.0
"""By how much weights are larger than fresh ones, so that an answer depends on its picture."""

TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {% for part in message.content %}"
    "{% if part.type == 'image' %}IMAGE{% else %}{{ part.text }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def template(image: str) -> str:
    return TEMPLATE.replace("IMAGE", image)


def tokenizer(*special: str) -> Any:
    """Reads and writes ASCII, a letter a token."""
    (((letters, _),)) = ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(
        string.ascii_letters + string.digits + string.punctuation + " \n"
    )
    words = ["<pad>", "<s>", "</s>", *special, *letters]
    made = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=[]))
    made.pre_tokenizer = ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=list(special),
    )


def text(words: Any, **more: Any) -> dict[str, Any]:
    """Configuration of a language model."""
    return {
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": ROOM,
        "pad_token_id": words.pad_token_id,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        **more,
    }


VISION: Mapping[str, Any] = MappingProxyType(
    {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
)


def llava() -> tuple[Any, Any]:
    """Every picture is four tokens."""
    words = tokenizer("<image>")
    pictures = transformers.CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor = transformers.LlavaProcessor(
        pictures,
        words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template("<image>"),
    )
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**VISION, image_size=28, patch_size=14),
        text_config=transformers.LlamaConfig(**text(words)),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    return transformers.LlavaForConditionalGeneration(config), processor


def idefics3() -> tuple[Any, Any]:
    """A picture is cut into as many tiles as its shape takes, and padded to those of its neighbours."""
    words = tokenizer("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
    module = importlib.import_module("transformers.models.idefics3.image_processing_pil_idefics3")
    pictures = module.Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    processor = transformers.Idefics3Processor(pictures, words, image_seq_len=4, chat_template=template("<image>"))
    config = transformers.Idefics3Config(
        vision_config={**VISION, "image_size": 32, "patch_size": 8},
        text_config=transformers.LlamaConfig(**text(words)),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=words.pad_token_id,
    )
    return transformers.Idefics3ForConditionalGeneration(config), processor


def qwen() -> tuple[Any, Any]:
    """A picture is as many tokens as it has pixels for."""
    marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    words = tokenizer(*marks)
    module = importlib.import_module("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    pictures = module.Qwen2VLImageProcessorPil(
        patch_size=4, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 256, "longest_edge": 2048}
    )
    processor = transformers.Qwen2VLProcessor(
        pictures,
        words,
        transformers.Qwen2VLVideoProcessor(patch_size=4),
        chat_template=template("".join((marks[0], marks[2], marks[1]))),
    )
    config = transformers.Qwen2VLConfig(
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 1, "patch_size": 4},
        text_config=text(
            words, rope_parameters={"rope_type": "default", "mrope_section": [1, 1, 2], "type": "default"}
        ),
        vision_start_token_id=words.convert_tokens_to_ids(marks[0]),
        vision_end_token_id=words.convert_tokens_to_ids(marks[1]),
        image_token_id=words.convert_tokens_to_ids(marks[2]),
        video_token_id=words.convert_tokens_to_ids(marks[3]),
    )
    return transformers.Qwen2VLForConditionalGeneration(config), processor


MODELS: Mapping[str, Callable[[], tuple[Any, Any]]] = MappingProxyType(
    {"llava": llava, "idefics3": idefics3, "qwen": qwen}
)


def saved(build: Callable[[], tuple[Any, Any]], folder: Path) -> Path:
    """Build a model and save it as its authors would, with settings that sample if nobody forbids it."""
    torch.manual_seed(5)
    model, processor = build()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(SPREAD)
    model.generation_config.update(do_sample=True, temperature=1.5, top_k=50)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
