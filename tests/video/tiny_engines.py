"""Pipelines of diffusers with random weights, so small that each is made and run in a second.

Their configs are those of the library's own tests; tokenizers are made of a literal vocabulary.
"""

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from PIL import Image

SIGNS = string.ascii_letters + string.digits + string.punctuation
VOCABULARY = 1000
WAN_VAE = {
    "base_dim": 3, "z_dim": 16, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
}  # fmt: skip
WAN = {
    "patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 16,
    "out_channels": 16, "text_dim": 32, "freq_dim": 256, "ffn_dim": 32, "num_layers": 2,
    "cross_attn_norm": True, "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 32,
}  # fmt: skip
FLOW_UNIPC = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
LTX_FOUR = {"block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}


def t5_words() -> Any:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    vocab = special + [(sign, -4.0) for sign in SIGNS]
    return transformers.T5Tokenizer(vocab=vocab, extra_ids=10, model_max_length=512)


def t5_encoder() -> Any:
    config = transformers.T5Config(
        vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return transformers.T5EncoderModel(config)


def _numbered(*special: str) -> dict[str, int]:
    return {word: number for number, word in enumerate([*special, *SIGNS])}


def llama_words() -> Any:
    vocab = _numbered("<s>", "<pad>", "</s>", "<unk>", "▁")
    made = transformers.LlamaTokenizer(vocab=vocab, merges=[], model_max_length=2048)
    made.pad_token, made.padding_side = "<pad>", "right"
    return made


def gemma_words() -> Any:
    vocab = _numbered("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁")
    return transformers.GemmaTokenizer(
        vocab=vocab, merges=[], model_max_length=512, padding_side="left"
    )


def clip_words() -> Any:
    ends = [sign + "</w>" for sign in SIGNS]
    vocab = _numbered("<|startoftext|>", "<|endoftext|>", *ends)
    return transformers.CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def _t5() -> dict[str, Any]:
    return {"text_encoder": t5_encoder(), "tokenizer": t5_words()}


def wan() -> Any:
    return diffusers.WanPipeline(
        **_t5(),
        vae=diffusers.AutoencoderKLWan(**WAN_VAE),
        transformer=diffusers.WanTransformer3DModel(**WAN),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
    )


def wan_22() -> Any:
    return diffusers.WanPipeline(
        **_t5(),
        vae=diffusers.AutoencoderKLWan(**WAN_VAE),
        transformer=diffusers.WanTransformer3DModel(**WAN),
        transformer_2=diffusers.WanTransformer3DModel(**WAN),
        scheduler=diffusers.UniPCMultistepScheduler(**FLOW_UNIPC),
        boundary_ratio=0.875,
    )


def wan_image_to_video() -> Any:
    return _wan_of_pictures(32, {})


def wan_first_last_to_video() -> Any:
    return _wan_of_pictures(4, {"pos_embed_seq_len": 2 * (4 * 4 + 1)})


def _wan_of_pictures(side: int, places: dict[str, int]) -> Any:
    seen = transformers.CLIPVisionConfig(
        hidden_size=4, projection_dim=4, num_hidden_layers=2, num_attention_heads=2,
        image_size=side, intermediate_size=16, patch_size=1,
    )  # fmt: skip
    net = WAN | {"in_channels": 36, "image_dim": 4} | places
    return diffusers.WanImageToVideoPipeline(
        **_t5(),
        vae=diffusers.AutoencoderKLWan(**WAN_VAE),
        transformer=diffusers.WanTransformer3DModel(**net),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        image_encoder=transformers.CLIPVisionModelWithProjection(seen),
        image_processor=transformers.CLIPImageProcessorPil(crop_size=side, size=side),
    )


def wan_vace() -> Any:
    net = diffusers.WanVACETransformer3DModel(**WAN, vace_layers=[0], vace_in_channels=96)
    return diffusers.WanVACEPipeline(
        **_t5(),
        vae=diffusers.AutoencoderKLWan(**WAN_VAE),
        transformer=net,
        scheduler=diffusers.UniPCMultistepScheduler(**FLOW_UNIPC),
    )


def wan_video_to_video() -> Any:
    return diffusers.WanVideoToVideoPipeline(
        **_t5(),
        vae=diffusers.AutoencoderKLWan(**WAN_VAE),
        transformer=diffusers.WanTransformer3DModel(**WAN),
        scheduler=diffusers.UniPCMultistepScheduler(**FLOW_UNIPC),
    )


def ltx_condition() -> Any:
    return diffusers.LTXConditionPipeline(**_t5(), **_ltx_parts())


def cogvideox_video_to_video() -> Any:
    return diffusers.CogVideoXVideoToVideoPipeline(**_t5(), **_cogvideox_parts(4))


def ltx() -> Any:
    return diffusers.LTXPipeline(**_t5(), **_ltx_parts())


def ltx_image_to_video() -> Any:
    return diffusers.LTXImageToVideoPipeline(**_t5(), **_ltx_parts())


def _ltx_parts() -> dict[str, Any]:
    vae = diffusers.AutoencoderKLLTXVideo(
        **LTX_FOUR, latent_channels=8, layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5, spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False), patch_size=1, patch_size_t=1,
        decoder_inject_noise=(False,) * 5, upsample_residual=(False,) * 4,
        upsample_factor=(1,) * 4, timestep_conditioning=False,
        encoder_causal=True, decoder_causal=False,
    )  # fmt: skip
    net = diffusers.LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, patch_size=1, patch_size_t=1, num_attention_heads=4,
        attention_head_dim=8, cross_attention_dim=32, num_layers=1, caption_channels=32,
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    return {"vae": vae, "transformer": net, "scheduler": scheduler}


def cogvideox() -> Any:
    return diffusers.CogVideoXPipeline(**_t5(), **_cogvideox_parts(4))


def cogvideox_dpm() -> Any:
    """As the larger model is published: its scheduler takes back what it answered last."""
    parts = _cogvideox_parts(4) | {"scheduler": diffusers.CogVideoXDPMScheduler()}
    return diffusers.CogVideoXPipeline(**_t5(), **parts)


def cogvideox_image_to_video() -> Any:
    return diffusers.CogVideoXImageToVideoPipeline(**_t5(), **_cogvideox_parts(8))


def _cogvideox_parts(channels: int) -> dict[str, Any]:
    blocks = {"block_out_channels": (8,) * 4, "layers_per_block": 1, "norm_num_groups": 2}
    net = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=4, attention_head_dim=8, in_channels=channels, out_channels=4,
        time_embed_dim=2, text_embed_dim=32, num_layers=1, sample_width=2, sample_height=2,
        sample_frames=9, patch_size=2, temporal_compression_ratio=4, max_text_seq_length=16,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLCogVideoX(latent_channels=4, **blocks)
    return {"vae": vae, "transformer": net, "scheduler": diffusers.DDIMScheduler()}


def hunyuan_video() -> Any:
    words = transformers.LlamaConfig(
        hidden_size=16, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        vocab_size=VOCABULARY, pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    clip = transformers.CLIPTextConfig(
        hidden_size=8, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        projection_dim=32, vocab_size=VOCABULARY, pad_token_id=1, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    net = diffusers.HunyuanVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=10, num_layers=1,
        num_single_layers=1, num_refiner_layers=1, patch_size=1, patch_size_t=1,
        guidance_embeds=True, text_embed_dim=16, pooled_projection_dim=8, rope_axes_dim=(2, 4, 4),
    )  # fmt: skip
    vae = diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8,) * 4, layers_per_block=1, norm_num_groups=4,
        mid_block_add_attention=True,
    )  # fmt: skip
    return diffusers.HunyuanVideoPipeline(
        text_encoder=transformers.LlamaModel(words),
        tokenizer=llama_words(),
        text_encoder_2=transformers.CLIPTextModel(clip),
        tokenizer_2=clip_words(),
        vae=vae,
        transformer=net,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
    )


def sana_video() -> Any:
    words = transformers.Gemma2Config(
        head_dim=16, hidden_size=8, intermediate_size=64, num_attention_heads=2,
        num_hidden_layers=1, num_key_value_heads=2, vocab_size=VOCABULARY,
    )  # fmt: skip
    net = diffusers.SanaVideoTransformer3DModel(
        in_channels=16, out_channels=16, num_attention_heads=2, attention_head_dim=12,
        num_layers=2, num_cross_attention_heads=2, cross_attention_head_dim=12,
        cross_attention_dim=24, caption_channels=8, mlp_ratio=2.5, sample_size=8,
        patch_size=(1, 2, 2), qk_norm="rms_norm_across_heads", rope_max_seq_len=32,
    )  # fmt: skip
    return diffusers.SanaVideoPipeline(
        text_encoder=transformers.Gemma2Model(words),
        tokenizer=gemma_words(),
        vae=diffusers.AutoencoderKLWan(**WAN_VAE),
        transformer=net,
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )


def qwen_words() -> Any:
    from tokenizers.pre_tokenizers import ByteLevel

    signs = [*sorted(ByteLevel.alphabet()), "<|endoftext|>"]
    vocab = {sign: number for number, sign in enumerate(signs)}
    made = transformers.Qwen2Tokenizer(vocab=vocab, merges=[], model_max_length=2048)
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    made.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return made


def hunyuan_1_5() -> Any:
    from diffusers.guiders import ClassifierFreeGuidance

    words = transformers.Qwen2_5_VLTextConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, vocab_size=VOCABULARY, rope_theta=1e6,
        rope_scaling={"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
    )  # fmt: skip
    net = diffusers.HunyuanVideo15Transformer3DModel(
        in_channels=9, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=1,
        num_refiner_layers=1, mlp_ratio=2.0, patch_size=1, patch_size_t=1, text_embed_dim=16,
        text_embed_2_dim=32, image_embed_dim=12, rope_axes_dim=(2, 2, 4), target_size=16,
        task_type="t2v",
    )  # fmt: skip
    vae = diffusers.AutoencoderKLHunyuanVideo15(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(16, 16),
        layers_per_block=1, spatial_compression_ratio=4, temporal_compression_ratio=2,
        downsample_match_channel=False, upsample_match_channel=False,
    )  # fmt: skip
    return diffusers.HunyuanVideo15Pipeline(
        text_encoder=transformers.Qwen2_5_VLTextModel(words),
        tokenizer=qwen_words(),
        text_encoder_2=t5_encoder(),
        tokenizer_2=transformers.ByT5Tokenizer(),
        vae=vae,
        transformer=net,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        guider=ClassifierFreeGuidance(guidance_scale=1.0),
    )


FAMILIES: dict[str, Callable[[], Any]] = {
    "wan": wan,
    "wan_22": wan_22,
    "wan_image_to_video": wan_image_to_video,
    "ltx": ltx,
    "ltx_image_to_video": ltx_image_to_video,
    "cogvideox_image_to_video": cogvideox_image_to_video,
    "cogvideox": cogvideox,
    "hunyuan_video": hunyuan_video,
    "sana_video": sana_video,
    "hunyuan_1_5": hunyuan_1_5,
}
SHAPES = {
    name: {"num_frames": 8 if name.startswith("cog") else 9, "height": side, "width": side}
    for name, side in {
        name: 32 if name.startswith(("ltx", "sana")) else 16
        for name in (*FAMILIES, "cogvideox_dpm")
    }.items()
}
"""The least lawful clip of each."""


def save_picture(path: Path, width: int, height: int, level: int = 0) -> Path:
    """Write a picture of slopes to begin a clip from; where it stands."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    pixels = np.stack([across, down, np.full_like(across, level)], -1)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


MORE: dict[str, Callable[[], Any]] = {
    "wan_first_last_to_video": wan_first_last_to_video,
    "wan_vace": wan_vace,
    "wan_video_to_video": wan_video_to_video,
    "cogvideox_dpm": cogvideox_dpm,
    "ltx_condition": ltx_condition,
    "cogvideox_video_to_video": cogvideox_video_to_video,
}


def save_engine(name: str, shelf: Path) -> Path:
    """Write an engine's folder; where it stands."""
    torch.manual_seed(0)
    (FAMILIES | MORE)[name]().save_pretrained(shelf / name, safe_serialization=True)
    return shelf / name
