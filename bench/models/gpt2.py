"""GPT-2 small (124 million parameters, random here) on 64 tokens; and decoding the 256th from cached keys, values."""

from bench.harness import Case, indices, inference, normal, training
from bench.models.gpt import block, block_macs

LAYERS, WIDTH, HEADS, SEQ, POSITIONS, VOCABULARY, CONTEXT = 12, 768, 12, 64, 1024, 50257, 256


def build(lib):
    nn = lib.nn

    class GPT2(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(POSITIONS, WIDTH)
            self.blocks = nn.ModuleList([block(lib, True, WIDTH, HEADS, gelu="tanh") for _ in range(LAYERS)])
            self.norm = nn.LayerNorm(WIDTH)

        def forward(self, i, *caches):
            """caches: keys and values [1, HEADS, CONTEXT, D] of each layer in turn, the last place free."""
            start = CONTEXT - 1 if caches else 0
            x = self.tokens(i) + self.positions.weight[start : start + i.shape[1]]
            for n, layer in enumerate(self.blocks):
                x = layer(x, caches[2 * n : 2 * n + 2] or None)
            return nn.functional.linear(self.norm(x), self.tokens.weight)  # the head is the embedding

    return GPT2()


def loss(lib, model, x, y):
    return lib.nn.functional.cross_entropy(model(x).view(-1, VOCABULARY), y.view(-1))


def cases() -> list[Case]:
    head = WIDTH * VOCABULARY
    weights = LAYERS * 12 * WIDTH * WIDTH + head + POSITIONS * WIDTH
    macs = LAYERS * block_macs(SEQ, WIDTH, True) + SEQ * head
    steps = [training(f"b{b}", build, loss, [indices(VOCABULARY, b, SEQ)] * 2, b * macs, weights) for b in (1, 4)]
    caches = [normal(1, HEADS, CONTEXT, WIDTH // HEADS) for _ in range(2 * LAYERS)]
    read = weights - POSITIONS * WIDTH + 2 * LAYERS * CONTEXT * WIDTH
    return [
        *steps,
        inference("b1", build, [indices(VOCABULARY, 1, SEQ)], macs, weights),
        inference("decode", build, [indices(VOCABULARY, 1, 1), *caches], read, read),
    ]
