"""Pipelines of the real classes with random weights and a few channels, saved as a model's files are.

They draw noise, in a fraction of a second; the classes that load and run them are those of the large models.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tests.unit.services.runtime.torchvision_operators import define_missing_operators
from tokenizers.pre_tokenizers import ByteLevel

define_missing_operators()

# Few of their classes have types.
diffusers: Any = importlib.import_module("diffusers")
transformers: Any = importlib.import_module("transformers")

LETTERS = sorted(ByteLevel.alphabet())


def clip_tokenizer() -> Any:
    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    return transformers.CLIPTokenizer(
        vocab={word: number for number, word in enumerate(words)}, merges=[], model_max_length=77
    )


def clip_encoder(*, projected: bool = False, width: int = 32) -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=600,
        hidden_size=width,
        intermediate_size=37,
        projection_dim=width,
        num_attention_heads=4,
        num_hidden_layers=2,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return (transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel)(config).eval()


def t5() -> tuple[Any, Any]:
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in LETTERS)]
    config = transformers.T5Config(vocab_size=400, d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4)
    return transformers.T5EncoderModel(config).eval(), transformers.T5Tokenizer(
        vocab=vocabulary, extra_ids=0, model_max_length=512
    )


def vae(channels: int = 4, *, plain: bool = True) -> Any:
    """Halves each side."""
    scaling: dict[str, Any] = {} if plain else {"shift_factor": 0.0609, "scaling_factor": 1.5035}
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=32,
        use_quant_conv=plain,
        use_post_quant_conv=plain,
        **scaling,
    ).eval()


def unet(channels: int, *, width: int, **more: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=16,
        in_channels=channels,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=4,
        norm_num_groups=4,
        **more,
    ).eval()


def flux_parts() -> dict[str, Any]:
    encoder, tokenizer = t5()
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    ).eval()
    return {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
        "vae": vae(plain=False),
        "text_encoder": clip_encoder(),
        "tokenizer": clip_tokenizer(),
        "text_encoder_2": encoder,
        "tokenizer_2": tokenizer,
        "transformer": transformer,
    }


def flux() -> Any:
    return diffusers.FluxPipeline(**flux_parts())


def kontext() -> Any:
    return diffusers.FluxKontextPipeline(**flux_parts())


def sd3() -> Any:
    encoder, tokenizer = t5()
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=32,
        patch_size=1,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=32,
        pooled_projection_dim=64,
        out_channels=4,
    ).eval()
    return diffusers.StableDiffusion3Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae(plain=False),
        text_encoder=clip_encoder(projected=True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip_encoder(projected=True),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=encoder,
        tokenizer_3=tokenizer,
        transformer=transformer,
    )


def _sdxl(kind: Any, channels: int) -> Any:
    more = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "transformer_layers_per_block": 1,
        "projection_class_embeddings_input_dim": 6 * 8 + 32,
        "use_linear_projection": True,
    }
    return kind(
        vae=vae(),
        text_encoder=clip_encoder(),
        text_encoder_2=clip_encoder(projected=True),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet(channels, width=64, **more),
        scheduler=diffusers.EulerAncestralDiscreteScheduler(timestep_spacing="trailing"),
    )


def sdxl() -> Any:
    return _sdxl(diffusers.StableDiffusionXLPipeline, 4)


def sdxl_pix2pix() -> Any:
    return _sdxl(diffusers.StableDiffusionXLInstructPix2PixPipeline, 8)


def safety_checker(*, strict: bool) -> Any:
    """One that finds everything unsafe, or nothing."""
    config = transformers.CLIPConfig(
        text_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 8},
        vision_config={
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 16,
        },
        projection_dim=16,
    )
    safety: Any = importlib.import_module("diffusers.pipelines.stable_diffusion.safety_checker")
    checker = safety.StableDiffusionSafetyChecker(config).eval()
    checker.concept_embeds_weights.fill_(-2.0 if strict else 2.0)
    checker.special_care_embeds_weights.fill_(2.0)
    return checker


def _sd(kind: Any, channels: int, *, strict: bool) -> Any:
    return kind(
        vae=vae(),
        text_encoder=clip_encoder(),
        tokenizer=clip_tokenizer(),
        unet=unet(channels, width=32),
        scheduler=diffusers.PNDMScheduler(skip_prk_steps=True, steps_offset=1)
        if channels == 4
        else diffusers.EulerAncestralDiscreteScheduler(),
        safety_checker=safety_checker(strict=strict),
        feature_extractor=transformers.CLIPImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
    )


def sd() -> Any:
    return _sd(diffusers.StableDiffusionPipeline, 4, strict=False)


def strict_sd() -> Any:
    return _sd(diffusers.StableDiffusionPipeline, 4, strict=True)


def pix2pix() -> Any:
    return _sd(diffusers.StableDiffusionInstructPix2PixPipeline, 8, strict=False)


def strict_pix2pix() -> Any:
    return _sd(diffusers.StableDiffusionInstructPix2PixPipeline, 8, strict=True)


def qwen_tokenizer() -> Any:
    special = [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|vision_pad|>",
        "<|image_pad|>",
        "<|video_pad|>",
    ]
    words = {word: number for number, word in enumerate([*special, *LETTERS])}
    tokenizer = transformers.Qwen2Tokenizer(
        vocab=words, merges=[], additional_special_tokens=special[1:], model_max_length=4096
    )
    tokenizer.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }} {{ message['content'] }}<|im_end|>{% endfor %}"
    )
    return tokenizer


def z_image() -> Any:
    config = transformers.Qwen3Config(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
    )
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=32,
        axes_dims=[8, 4, 4],
        axes_lens=[1024, 64, 64],
    ).eval()
    # The real one is made to start at its input.
    for name in ("x_pad_token", "cap_pad_token"):
        torch.nn.init.normal_(getattr(transformer, name))
    return diffusers.ZImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae(plain=False),
        text_encoder=transformers.Qwen3Model(config).eval(),
        tokenizer=qwen_tokenizer(),
        transformer=transformer,
    )


def qwen_parts() -> dict[str, Any]:
    words = qwen_tokenizer()
    text = {
        "vocab_size": 400,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": 16,
        "fullatt_block_indexes": [0],
    }
    numbers = {
        f"{name}_token_id": words.convert_tokens_to_ids(f"<|{word}|>")
        for name, word in (
            ("image", "image_pad"),
            ("video", "video_pad"),
            ("vision_start", "vision_start"),
            ("vision_end", "vision_end"),
        )
    }
    encoder = transformers.Qwen2_5_VLForConditionalGeneration(
        transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **numbers)
    )
    transformer = diffusers.QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(4, 6, 6),
    )
    coder = diffusers.AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    return {
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
        "vae": coder.eval(),
        "text_encoder": encoder.eval(),
        "tokenizer": words,
        "transformer": transformer.eval(),
    }


def qwen_image() -> Any:
    return diffusers.QwenImagePipeline(**qwen_parts())


def _qwen_edit(kind: Any) -> Any:
    pictures = transformers.Qwen2VLImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 56 * 56})
    parts = qwen_parts()
    return kind(
        **parts,
        processor=transformers.Qwen2VLProcessor(pictures, parts["tokenizer"], transformers.Qwen2VLVideoProcessor()),
    )


def qwen_edit() -> Any:
    return _qwen_edit(diffusers.QwenImageEditPipeline)


def qwen_edit_plus() -> Any:
    return _qwen_edit(diffusers.QwenImageEditPlusPipeline)


GENERATORS: dict[str, Callable[[], Any]] = {
    "flux": flux,
    "sd3": sd3,
    "sdxl": sdxl,
    "sd": sd,
    "z-image": z_image,
    "qwen-image": qwen_image,
}
EDITORS: dict[str, Callable[[], Any]] = {
    "kontext": kontext,
    "pix2pix": pix2pix,
    "sdxl-pix2pix": sdxl_pix2pix,
    "qwen-edit": qwen_edit,
    "qwen-edit-plus": qwen_edit_plus,
}


def saved(build: Callable[[], Any], folder: Path) -> Path:
    """Build a pipeline with weights that are the same in every run, and save it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        build().save_pretrained(folder)
    return folder


def renamed(folder: Path, pipeline: str) -> Path:
    """Call a saved pipeline by another class."""
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": pipeline}))
    return folder
