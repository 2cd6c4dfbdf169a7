"""The models of littlecore written once more in PyTorch, with the same keys: referees, not used by anything else."""

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F


class MLP(nn.Module):
    def __init__(self, sizes=(50, 25, 10, 2)):
        super().__init__()
        layers = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x):
        return self.layers(x.flatten(1))


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 5), nn.Conv2d(32, 64, 5)
        self.fc1, self.fc2 = nn.Linear(256, 200), nn.Linear(200, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 3))
        x = F.relu(F.max_pool2d(self.conv2(x), 2)).flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


class BasicBlock(nn.Module):
    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if y.shape != x.shape:
            extra = y.shape[1] - x.shape[1]
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, extra // 2, extra - extra // 2))
        return F.relu(x + y)


class Bottleneck(nn.Module):
    def __init__(self, inputs, channels, stride):
        super().__init__()
        outputs = 4 * channels
        for k, (a, b, size, step) in enumerate(
            ((inputs, channels, 1, 1), (channels, channels, 3, stride), (channels, outputs, 1, 1)), 1
        ):
            setattr(self, f"conv{k}", nn.Conv2d(a, b, size, step, size // 2, bias=False))
            setattr(self, f"bn{k}", nn.BatchNorm2d(b))
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    """With torchvision's keys."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        inputs = 64
        for k, (channels, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
            parts = [Bottleneck(inputs, channels, 2 if k > 1 else 1)]
            parts += [Bottleneck(4 * channels, channels, 1) for _ in range(blocks - 1)]
            setattr(self, f"layer{k}", nn.Sequential(*parts))
            inputs = 4 * channels
        self.fc = nn.Linear(inputs, 1000)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class ResNet20(nn.Module):
    def __init__(self, in_channels=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(in_channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        for i, (a, b, stride) in enumerate(((16, 16, 1), (16, 32, 2), (32, 64, 2))):
            stage = nn.Sequential(BasicBlock(a, b, stride), BasicBlock(b, b, 1), BasicBlock(b, b, 1))
            self.add_module(f"layer{i + 1}", stage)
        self.fc = nn.Linear(64, 10)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


class GPTBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = nn.Module(), nn.Module()
        self.attn.c_attn, self.attn.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp.c_fc, self.mlp.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = (z.view(n, t, self.heads, -1).transpose(1, 2) for z in self.attn.c_attn(self.ln_1(x)).split(c, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(n, t, c)
        x = x + self.attn.c_proj(y)
        return x + self.mlp.c_proj(F.gelu(self.mlp.c_fc(self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, vocabulary, length, layers, heads, width):
        super().__init__()
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(vocabulary, width), "wpe": nn.Embedding(length, width),
            "h": nn.ModuleList(GPTBlock(width, heads) for _ in range(layers)), "ln_f": nn.LayerNorm(width),
        })  # fmt: skip
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.transformer["wte"].weight
        for name, p in self.named_parameters():
            if p.ndim > 1:
                nn.init.normal_(p, 0, 0.02 / math.sqrt(2 * layers) if "c_proj" in name else 0.02)

    def forward(self, tokens):
        x = self.transformer["wte"](tokens) + self.transformer["wpe"](torch.arange(tokens.shape[1]))
        for block in self.transformer["h"]:
            x = block(x)
        return self.lm_head(self.transformer["ln_f"](x))


class ViTBlock(nn.Module):
    def __init__(self, heads, width, hidden):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, width))

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class ViT(nn.Module):
    def __init__(self, image, patch, layers, heads, width, hidden):
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.conv_proj = nn.Conv2d(1, width, patch, patch)
        self.encoder = nn.Module()
        self.encoder.pos_embedding = nn.Parameter(torch.randn(1, (image // patch) ** 2 + 1, width) * 0.02)
        self.encoder.layers = nn.Sequential()
        for i in range(layers):
            self.encoder.layers.add_module(f"encoder_layer_{i}", ViTBlock(heads, width, hidden))
        self.encoder.ln = nn.LayerNorm(width, eps=1e-6)
        self.heads = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 10)
        )

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1)
        x = self.encoder.ln(self.encoder.layers(x + self.encoder.pos_embedding))
        return self.heads(x[:, 0])


def two_convolutions(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()
    )


class PyramidPooling(nn.Module):
    def __init__(self, channels, sizes):
        super().__init__()
        self.sizes, part = sizes, channels // len(sizes)
        self.reduce = nn.ModuleList(nn.Conv2d(channels, part, 1) for _ in sizes)
        self.merge = nn.Conv2d(channels + len(sizes) * part, channels, 1)

    def forward(self, x):
        every = [x]
        for size, reduce in zip(self.sizes, self.reduce, strict=True):
            y = F.relu(reduce(F.adaptive_avg_pool2d(x, size)))
            every.append(F.interpolate(y, x.shape[-2:], mode="bilinear"))
        return F.relu(self.merge(torch.cat(every, 1)))


class UNet(nn.Module):
    def __init__(self, inputs, outputs, widths, pyramid):
        super().__init__()
        self.down = nn.ModuleList(two_convolutions(a, b) for a, b in pairwise((inputs, *widths)))
        upwards = list(pairwise(reversed(widths)))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in upwards)
        self.up = nn.ModuleList(two_convolutions(2 * b, b) for _, b in upwards)
        self.readout = nn.Conv2d(widths[0], outputs, 1)
        self.pyramid = PyramidPooling(widths[-1], pyramid)

    def forward(self, x):
        seen = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            seen.append(x)
        x = self.pyramid(seen.pop())
        for grow, block in zip(self.grow, self.up, strict=True):
            x = block(torch.cat([grow(x), seen.pop()], 1))
        return self.readout(x)


class SSD(nn.Module):
    """Without batch norm, whose rounding grows in training (see the residual network)."""

    def __init__(self, classes, widths, maps):
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.Identity(), nn.ReLU(),
                nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.Identity(), nn.ReLU(),
            )
            for a, b in pairwise((3, *widths))
        )  # fmt: skip
        self.heads = nn.ModuleList(nn.Conv2d(width, 5 + classes, 3, padding=1) for width in widths[-maps:])

    def forward(self, x):
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        parts = zip(self.heads, found[-len(self.heads) :], strict=True)
        every = torch.cat([head(y).flatten(2).transpose(1, 2) for head, y in parts], 1)
        return every[..., 4:], every[..., :4]

    def loss(self, scores, offsets, classes, wanted):
        objects = classes > 0
        each = F.cross_entropy(scores.flatten(0, 1), classes.flatten(), reduction="none").reshape(classes.shape)
        count = int(objects.sum())
        hardest = each[~objects].sort(descending=True).values[: 3 * count]
        distance = F.smooth_l1_loss(offsets[objects], wanted[objects], reduction="sum")
        return (each[objects].sum() + hardest.sum() + distance) / count


class CLIPLayer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.self_attn = nn.Module()
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            setattr(self.self_attn, name, nn.Linear(width, width))
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, causal):
        a, y = self.self_attn, self.layer_norm1(x)
        q, k, v = (f(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (a.q_proj, a.k_proj, a.v_proj))
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        if causal:
            scores = scores + torch.full(scores.shape[-2:], -torch.inf, dtype=x.dtype).triu(1)
        x = x + a.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        y = self.mlp.fc1(self.layer_norm2(x))
        return x + self.mlp.fc2(y * torch.sigmoid(1.702 * y))


def clip_side(width, heads, layers):
    side = nn.Module()
    side.embeddings, side.encoder = nn.Module(), nn.Module()
    side.encoder.layers = nn.ModuleList(CLIPLayer(width, heads) for _ in range(layers))
    return side


class CLIP(nn.Module):
    def __init__(self, embed, image, patch, width, vocabulary, length, heads, layers, end):
        super().__init__()
        self.end = end
        self.text_model, self.vision_model = clip_side(width, heads, layers), clip_side(width, heads, layers)
        text, vision = self.text_model, self.vision_model
        text.embeddings.token_embedding = nn.Embedding(vocabulary, width)
        text.embeddings.position_embedding = nn.Embedding(length, width)
        text.final_layer_norm = nn.LayerNorm(width)
        vision.embeddings.class_embedding = nn.Parameter(torch.randn(width))
        vision.embeddings.patch_embedding = nn.Conv2d(3, width, patch, patch, bias=False)
        vision.embeddings.position_embedding = nn.Embedding((image // patch) ** 2 + 1, width)
        vision.pre_layrnorm, vision.post_layernorm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.visual_projection = nn.Linear(width, embed, bias=False)
        self.text_projection = nn.Linear(width, embed, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x, tokens):
        e = self.vision_model.embeddings
        x = e.patch_embedding(x).flatten(2).mT
        x = torch.cat([e.class_embedding.expand(len(x), 1, -1), x], 1) + e.position_embedding.weight
        x = self.vision_model.pre_layrnorm(x)
        for layer in self.vision_model.encoder.layers:
            x = layer(x, False)
        image = self.visual_projection(self.vision_model.post_layernorm(x[:, 0]))
        e = self.text_model.embeddings
        y = e.token_embedding(tokens) + e.position_embedding.weight[: tokens.shape[1]]
        for layer in self.text_model.encoder.layers:
            y = layer(y, True)
        last = (tokens == self.end).int().argmax(-1)
        text = self.text_projection(self.text_model.final_layer_norm(y)[torch.arange(len(y)), last])
        image, text = image / image.norm(dim=-1, keepdim=True), text / text.norm(dim=-1, keepdim=True)
        return self.logit_scale.exp() * image @ text.mT

    def loss(self, logits):
        own = torch.arange(len(logits))
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.mT, own)) / 2


class Perceptron(nn.Module):
    """image_generation.Perceptron."""

    def __init__(self, times, layers):
        super().__init__()
        self.register_buffer("times", times)
        self.layers = layers

    def forward(self, x, step):
        waves = [wave for k in range(4) for wave in ((2**k * x).sin(), (2**k * x).cos())]
        return self.layers(torch.cat([x, *waves, self.times[step]], 1))
