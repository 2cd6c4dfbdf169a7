"""A small vision transformer: 32x32 images in patches of 4, 6 layers of 192, 3 heads."""

from bench.harness import Case, indices, inference, normal, training
from bench.models.gpt import block, block_macs

LAYERS, WIDTH, HEADS, PATCHES = 6, 192, 3, 64


def build(lib):
    nn = lib.nn

    class ViT(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.positions = nn.Conv2d(3, WIDTH, 4, 4), nn.Embedding(PATCHES, WIDTH)
            self.blocks = nn.Sequential(*[block(lib, False, WIDTH, HEADS) for _ in range(LAYERS)])
            self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2) + self.positions.weight
            return self.head(self.norm(self.blocks(x)).mean(1))

    return ViT()


def loss(lib, model, x, y):
    return lib.nn.functional.cross_entropy(model(x), y)


def cases() -> list[Case]:
    macs = PATCHES * 48 * WIDTH + LAYERS * block_macs(PATCHES, WIDTH, False) + WIDTH * 10
    weights = 48 * WIDTH + LAYERS * 12 * WIDTH * WIDTH + (PATCHES + 10) * WIDTH
    return [
        training("b64", build, loss, [normal(64, 3, 32, 32), indices(10, 64)], 64 * macs, weights),
        inference("b1", build, [normal(1, 3, 32, 32)], macs, weights),
    ]
