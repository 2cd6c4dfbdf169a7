"""A one-layer character LSTM of 256 units over 64 characters."""

from bench.harness import Case, indices, inference, training

VOCABULARY, WIDTH, SEQ = 65, 256, 64


def build(lib):
    nn = lib.nn

    class Characters(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, WIDTH)
            self.lstm, self.head = nn.LSTM(WIDTH, WIDTH, batch_first=True), nn.Linear(WIDTH, VOCABULARY)

        def forward(self, i):
            return self.head(self.lstm(self.embedding(i))[0])

    return Characters()


def loss(lib, model, x, y):
    return lib.nn.functional.cross_entropy(model(x).reshape(-1, VOCABULARY), y.reshape(-1))


def cases() -> list[Case]:
    weights = 8 * WIDTH * WIDTH + WIDTH * VOCABULARY
    return [
        training("b32", build, loss, [indices(VOCABULARY, 32, SEQ)] * 2, 32 * SEQ * weights, weights),
        inference("b1", build, [indices(VOCABULARY, 1, SEQ)], SEQ * weights, weights),
    ]
