"""A diffusion U-Net on 32x32 images: widths 32, 64, 128, two residual blocks a level, attention at 8x8."""

from bench.harness import Case, inference, normal, training

WIDTHS, TIME, EMBEDDED, HEADS = (32, 64, 128), 32, 128, 4
MACS, WEIGHTS = 514_195_456, 3_595_968  # of one image: convolutions, linear layers, attention


def residual(lib, c: int, k: int):
    nn = lib.nn

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Sequential(nn.GroupNorm(8, c), nn.SiLU(), nn.Conv2d(c, k, 3, padding=1))
            self.time = nn.Linear(EMBEDDED, k)
            self.second = nn.Sequential(nn.GroupNorm(8, k), nn.SiLU(), nn.Conv2d(k, k, 3, padding=1))
            self.skip = nn.Conv2d(c, k, 1) if c != k else nn.Identity()

        def forward(self, x, t):
            return self.skip(x) + self.second(self.first(x) + self.time(t)[:, :, None, None])

    return Residual()


def attention(lib, c: int):
    nn = lib.nn

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.qkv, self.proj = nn.GroupNorm(8, c), nn.Linear(c, 3 * c), nn.Linear(c, c)

        def forward(self, x, t):
            n, _, h, w = x.shape
            tokens = self.norm(x).flatten(2).transpose(1, 2)
            q, k, v = (a.reshape(n, h * w, HEADS, -1).transpose(1, 2) for a in self.qkv(tokens).split(c, -1))
            a = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h * w, c)
            return x + self.proj(a).transpose(1, 2).reshape(n, c, h, w)

    return Attention()


def build(lib):
    nn = lib.nn

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            c = WIDTHS[0]
            self.time = nn.Sequential(nn.Linear(TIME, EMBEDDED), nn.SiLU(), nn.Linear(EMBEDDED, EMBEDDED), nn.SiLU())
            self.stem, skips, down, up = nn.Conv2d(3, c, 3, padding=1), [c], [], []
            for k in WIDTHS:
                down += [residual(lib, c, k), residual(lib, k, k)]
                skips += [k, k]
                c = k
                if k != WIDTHS[-1]:
                    down.append(nn.Conv2d(k, k, 3, 2, 1))
                    skips.append(k)
            self.middle = nn.ModuleList([residual(lib, c, c), attention(lib, c), residual(lib, c, c)])
            for k in reversed(WIDTHS):
                for _ in range(3):
                    up.append(residual(lib, c + skips.pop(), k))
                    c = k
                if k != WIDTHS[0]:
                    up.append(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(k, k, 3, padding=1)))
            self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
            self.head = nn.Sequential(nn.GroupNorm(8, c), nn.SiLU(), nn.Conv2d(c, 3, 3, padding=1))

        def forward(self, x, t):
            t, x = self.time(t), self.stem(x)
            skips = [x]
            for layer in self.down:
                x = layer(x) if isinstance(layer, nn.Conv2d) else layer(x, t)
                skips.append(x)
            for layer in self.middle:
                x = layer(x, t)
            for layer in self.up:
                between = isinstance(layer, nn.Sequential)
                x = layer(x) if between else layer(lib.cat([x, skips.pop()], 1), t)
            return self.head(x)

    return UNet()


def loss(lib, model, x, t, y):
    return lib.nn.functional.mse_loss(model(x, t), y)


def cases() -> list[Case]:
    inputs = [[normal(b, 3, 32, 32), normal(b, TIME)] for b in (16, 1)]
    return [
        training("b16", build, loss, [*inputs[0], normal(16, 3, 32, 32)], 16 * MACS, WEIGHTS),
        inference("b1", build, inputs[1], MACS, WEIGHTS),
    ]
