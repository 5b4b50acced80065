"""Networks of torchvision, timm and transformers with random weights, as files.

    python -m benchmarks.pretrained_torch OUT

writes, for each, `NAME.safetensors` by the names that are published, and `NAME.npz`:
pictures in [0, 1], features and logits in float32, and, in float64, gradients of a random
projection of the outputs. It runs where PyTorch is (torchvision, timm, transformers), which
need not be where JAX is; `benchmarks/pretrained_parity.py` reads what it wrote.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
import transformers as hf
from safetensors.torch import save_file

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5,) * 3, (0.5,) * 3
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def timm_dino():
    return timm.create_model(
        "vit_small_patch14_reg4_dinov2", img_size=224, init_values=1.0,
        dynamic_img_size=True,
    )  # fmt: skip


# name: the network, its statistics, the side of the pictures (others than 224, and those of
# DINOv2, are not what positions are learned at: those stretch)
NETWORKS = {
    "torchvision-resnet18": (torchvision.models.resnet18, IMAGENET, 224),
    "torchvision-resnet34": (torchvision.models.resnet34, IMAGENET, 160),
    "timm-resnet50": (lambda: timm.create_model("resnet50"), IMAGENET, 224),
    "timm-efficientnet-lite0": (
        lambda: timm.create_model("tf_efficientnet_lite0"),
        HALF,
        224,
    ),
    "hf-resnet50": (
        lambda: hf.ResNetForImageClassification(hf.ResNetConfig(num_labels=1000)),
        IMAGENET, 224,
    ),
    "timm-vit-small-160": (
        lambda: timm.create_model("vit_small_patch16_224", dynamic_img_size=True),
        HALF, 160,
    ),
    "timm-deit-tiny-160": (
        lambda: timm.create_model("deit_tiny_patch16_224", dynamic_img_size=True),
        IMAGENET, 160,
    ),
    "timm-deit-tiny-distilled": (
        lambda: timm.create_model(
            "deit_tiny_distilled_patch16_224", dynamic_img_size=True
        ),
        IMAGENET, 224,
    ),
    "timm-deit3-small": (
        lambda: timm.create_model("deit3_small_patch16_224", dynamic_img_size=True),
        IMAGENET, 224,
    ),
    "timm-dinov2-small-registers": (timm_dino, IMAGENET, 224),
    "torchvision-vit-base": (torchvision.models.vit_b_16, IMAGENET, 224),
    "hf-vit-base-288": (
        lambda: hf.ViTForImageClassification(hf.ViTConfig(num_labels=1000)), HALF, 288,
    ),
    "hf-deit-tiny-distilled": (
        lambda: hf.DeiTForImageClassificationWithTeacher(
            hf.DeiTConfig(
                hidden_size=192, num_attention_heads=3, intermediate_size=768,
                num_labels=1000,
            )
        ),
        IMAGENET, 224,
    ),
    "hf-dinov2-small": (
        lambda: hf.Dinov2Model(
            hf.Dinov2Config(hidden_size=384, num_attention_heads=6, image_size=518)
        ),
        IMAGENET, 224,
    ),
    "hf-dinov2-small-registers": (
        lambda: hf.Dinov2WithRegistersModel(
            hf.Dinov2WithRegistersConfig(
                hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14
            )
        ),
        IMAGENET, 224,
    ),
    "hf-clip-base-32": (
        lambda: hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig()), CLIP, 224,
    ),
}  # fmt: skip


def shaken(model):
    """Every weight and average away from 0 and 1, where mistakes would not show."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if not value.is_floating_point():
                continue
            noise = torch.rand(value.shape, generator=draw)
            if name.endswith("running_var"):
                value.copy_(0.5 + noise)
            elif value.ndim < 2 or not value.any() or "token" in name or "pos" in name:
                value.add_(0.2 * (noise - 0.5))
    return model.eval()


def outputs(name, model, x):
    """(features, logits or `None`)."""
    if name.startswith("timm"):
        maps = model.forward_features(x)
        features = model.forward_head(maps, pre_logits=True)
        return features, model.forward_head(maps) if _headed(model) else None
    if name.startswith("torchvision-resnet"):
        kept = {}
        hook = model.avgpool.register_forward_hook(lambda m, i, o: kept.update(it=o))
        logits = model(x)
        hook.remove()
        return kept["it"].flatten(1), logits
    if name.startswith("torchvision-vit"):
        kept = {}
        hook = model.encoder.register_forward_hook(
            lambda m, i, o: kept.update(it=o[:, 0])
        )
        logits = model(x)
        hook.remove()
        return kept["it"], logits
    if name.startswith("hf-resnet"):
        return model.resnet(x).pooler_output.flatten(1), model(x).logits
    if name.startswith("hf-vit"):
        options = dict(interpolate_pos_encoding=True)
        features = model.vit(x, **options).last_hidden_state[:, 0]
        return features, model.classifier(features)
    if name.startswith("hf-deit"):
        options = dict(interpolate_pos_encoding=True)
        features = model.deit(x, **options).last_hidden_state[:, :2].mean(1)
        return features, model(x, **options).logits
    if name.startswith("hf-clip"):
        return model(x).image_embeds, None
    return model(x).last_hidden_state[:, 0], None


def _headed(model):
    return not isinstance(model.get_classifier(), torch.nn.Identity)


def write(name, out):
    build, (mean, std), side = NETWORKS[name]
    torch.manual_seed(0)
    model = shaken(build())
    path = out / f"{name}.safetensors"
    if name.startswith("hf"):
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            (Path(folder) / "model.safetensors").rename(path)
    else:
        weights = model.state_dict().items()
        save_file({k: v.contiguous().clone() for k, v in weights}, path)
    draw = np.random.default_rng(1)
    pictures = draw.uniform(size=(2, side, side, 3)).astype("float32")

    def run(model, pictures):
        shape = (1, 3, 1, 1)
        m, s = (
            torch.tensor(v, dtype=pictures.dtype).reshape(shape) for v in (mean, std)
        )
        x = pictures.permute(0, 3, 1, 2)
        return outputs(name, model, (x - m) / s)

    kept = {"pictures": pictures}
    with torch.no_grad():
        features, logits = run(model, torch.tensor(pictures))
    kept["features"] = features.numpy()
    if logits is not None:
        kept["logits"] = logits.numpy()
    model = model.double()
    # a small picture where positions stretch: float64 is slow
    fixed = name.startswith(("torchvision-vit", "hf-clip"))
    small = side if fixed else min(side, 112)  # whole patches of 14 and of 16
    x = pictures[:1, :small, :small]
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    features, _ = run(model, x)
    weights = draw.normal(size=features.shape)
    (features * torch.tensor(weights)).sum().backward()
    kept["projection"], kept["by_picture"] = weights, x.grad.numpy()
    kept["by_first"] = _first(model).grad.numpy()
    np.savez(out / f"{name}.npz", **kept)


def _first(model):
    """The first kernel: every layer is between it and the outputs."""
    return next(p for p in model.parameters() if p.ndim == 4)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for chosen in sys.argv[2:] or NETWORKS:
        write(chosen, folder)
        print(chosen, flush=True)
