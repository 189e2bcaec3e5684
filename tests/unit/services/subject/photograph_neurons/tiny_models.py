"""A GroundingDINO and a SAM of the real classes with random weights and a few channels, saved as a model's files are.

They find nonsense, in a fraction of a second; the classes that load and run them are those of the large models.
"""

from __future__ import annotations

import importlib
import string
from pathlib import Path
from typing import Any

import torch
from tests.unit.services.runtime.torchvision_operators import define_missing_operators

define_missing_operators()

# Few of its classes have types.
transformers: Any = importlib.import_module("transformers")

_WORDS = ("dog", "cat", "car", "window", "tree", "##s", "sky", "red", "leash", "[UNK]")
_SPECIAL = {"[PAD]": 0, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}
"""Where the model looks for them, whatever the vocabulary."""

SPREAD = 3.0
"""By how much weights are larger than fresh ones, so that scores differ between boxes and words."""


def _vocabulary() -> dict[str, int]:
    words = iter([*_WORDS, *string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)])
    taken = {number: word for word, number in _SPECIAL.items()}
    named = {taken[number] if number in taken else next(words, f"[unused{number}]"): number for number in range(1030)}
    return {"[MASK]" if word == "[unused1000]" else word: number for word, number in named.items()}


def save_detector(folder: Path, *, queries: int = 12) -> Path:
    """Save a GroundingDINO that looks at 96 pixels."""
    torch.manual_seed(11)
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            image_size=64,
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=transformers.BertConfig(
            vocab_size=1030,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=64,
        ),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=queries,
        max_text_len=32,
    )
    model = transformers.GroundingDinoForObjectDetection(config)
    _spread(model)
    model.eval().save_pretrained(folder)
    transformers.GroundingDinoImageProcessorPil(size={"shortest_edge": 96, "longest_edge": 192}).save_pretrained(folder)
    transformers.BertTokenizer(vocab=_vocabulary()).save_pretrained(folder)
    return folder


def save_segmenter(folder: Path) -> Path:
    """Save a SAM that looks at 64 pixels."""
    torch.manual_seed(12)
    config = transformers.SamConfig(
        vision_config={
            "hidden_size": 16,
            "output_channels": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8,
            "window_size": 4,
            "global_attn_indexes": [0],
            "num_pos_feats": 8,
            "mlp_dim": 16,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    model = transformers.SamModel(config)
    _spread(model)
    model.eval().save_pretrained(folder)
    transformers.SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}).save_pretrained(
        folder
    )
    return folder


def _spread(model: Any) -> None:
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(SPREAD)
