"""A character GPT: 6 layers of 384, 6 heads, 256 tokens, 65 characters; with and without dropout."""

from bench.harness import Case, indices, inference, training

LAYERS, WIDTH, HEADS, SEQ, VOCABULARY = 6, 384, 6, 256, 65


def block(lib, causal: bool, width: int, heads: int, dropout: float = 0.0, gelu: str = "none"):
    nn = lib.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(gelu), nn.Linear(4 * width, width))
            self.drop = nn.Dropout(dropout) if dropout else nn.Identity()

        def forward(self, x, cache=None):
            n, t, d = x.shape
            q, k, v = (h.view(n, t, heads, d // heads).transpose(1, 2) for h in self.qkv(self.norm1(x)).split(d, -1))
            if cache is not None:  # the last of the cache's keys and values are this token's
                cache[0][:, :, -1:].copy_(k)
                cache[1][:, :, -1:].copy_(v)
                k, v = cache
            a = nn.functional.scaled_dot_product_attention(
                q, k, v, dropout_p=dropout if self.training else 0.0, is_causal=causal and cache is None
            )
            x = x + self.drop(self.proj(a.transpose(1, 2).reshape(n, t, d)))
            return x + self.drop(self.mlp(self.norm2(x)))

    return Block()


def block_macs(seq: int, width: int, causal: bool) -> int:
    return seq * 12 * width * width + 2 * seq * seq * width // (2 if causal else 1)


def build(lib, dropout: float = 0.0):
    nn = lib.nn

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(SEQ, WIDTH)
            self.drop = nn.Dropout(dropout) if dropout else nn.Identity()
            self.blocks = nn.Sequential(*[block(lib, True, WIDTH, HEADS, dropout) for _ in range(LAYERS)])
            self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

        def forward(self, i):
            return self.head(self.norm(self.blocks(self.drop(self.tokens(i) + self.positions.weight))))

    return GPT()


def loss(lib, model, x, y):
    return lib.nn.functional.cross_entropy(model(x).view(-1, VOCABULARY), y.view(-1))


def cases() -> list[Case]:
    macs = LAYERS * block_macs(SEQ, WIDTH, True) + SEQ * WIDTH * VOCABULARY
    weights = LAYERS * 12 * WIDTH * WIDTH + (2 * VOCABULARY + SEQ) * WIDTH
    batch = [indices(VOCABULARY, 12, SEQ)] * 2
    with_dropout = training("b12_dropout", lambda lib: build(lib, 0.2), loss, batch, 12 * macs, weights)
    with_dropout.random = True
    return [
        training("b12", build, loss, batch, 12 * macs, weights),
        with_dropout,
        inference("b1", build, [indices(VOCABULARY, 1, SEQ)], macs, weights),
    ]
