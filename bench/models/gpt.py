"""A training step of a character GPT: 6 layers of 384, 6 heads, 256 tokens, 65 characters."""

from bench.harness import Case, indices, training

LAYERS, WIDTH, HEADS, SEQ, VOCABULARY = 6, 384, 6, 256, 65


def block(lib, causal: bool, width: int, heads: int):
    nn = lib.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x):
            n, t, d = x.shape
            q, k, v = (h.view(n, t, heads, d // heads).transpose(1, 2) for h in self.qkv(self.norm1(x)).split(d, -1))
            a = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
            x = x + self.proj(a.transpose(1, 2).reshape(n, t, d))
            return x + self.mlp(self.norm2(x))

    return Block()


def block_macs(seq: int, width: int, causal: bool) -> int:
    return seq * 12 * width * width + 2 * seq * seq * width // (2 if causal else 1)


def build(lib):
    nn = lib.nn

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(SEQ, WIDTH)
            self.blocks = nn.Sequential(*[block(lib, True, WIDTH, HEADS) for _ in range(LAYERS)])
            self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

        def forward(self, i):
            return self.head(self.norm(self.blocks(self.tokens(i) + self.positions.weight)))

    return GPT()


def loss(lib, model, x, y):
    return lib.nn.functional.cross_entropy(model(x).view(-1, VOCABULARY), y.view(-1))


def cases() -> list[Case]:
    macs = LAYERS * block_macs(SEQ, WIDTH, True) + SEQ * WIDTH * VOCABULARY
    batch = [indices(VOCABULARY, 12, SEQ)] * 2
    return [training("b12", build, loss, batch, 6 * 12 * macs)]
