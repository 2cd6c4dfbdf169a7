"""`littlecore generate`: text from a trained GPT, shown as it is made."""

from __future__ import annotations

import argparse
import codecs
import sys
from typing import Any

from .run_folder import load_model


def add_arguments(commands: Any) -> None:
    parser = commands.add_parser("generate", help="text from a trained gpt, streamed")
    parser.add_argument("folder", help="the folder of the run, such as runs/gpt")
    parser.add_argument("--prompt", default="\n", help="the text to go on with")
    parser.add_argument("--tokens", type=int, default=500, help="how many tokens to make (500)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the most probable token (0.8)")
    parser.add_argument("--top-k", type=int, help="draw from the k most probable tokens only")
    parser.add_argument("--top-p", type=float, help="draw from the most probable tokens that add up to p only")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another text (0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    import littlecore as lc
    from littlecore.train.recipes.language import make_tokenizer

    if options.tokens < 0 or options.temperature < 0:
        raise ValueError("--tokens and --temperature must not be negative")
    settled, model = load_model(options.folder, "language")
    lc.manual_seed(options.seed)
    stream_text(
        model,
        make_tokenizer(settled.facts or {}),
        options.prompt,
        options.tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
    )
    return 0


def stream_text(
    model: Any,
    tokenizer: Any,
    prompt: str,
    count: int,
    temperature: float,
    top_k: int | None = None,
    top_p: float | None = None,
) -> None:
    """Print the prompt and `count` tokens after it, each as soon as it is known. Temperature 0 is greedy."""
    import littlecore as lc

    if not prompt:
        raise ValueError("the prompt must hold at least one character")
    tokens = lc.from_numpy(tokenizer.encode(prompt)[None])
    drawing: dict[str, Any] = {"greedy": True} if temperature == 0 else {"temperature": temperature}
    show = _writer(tokenizer)
    model.eval()
    sys.stdout.write(prompt)
    for token in model.stream(tokens, count, top_k=top_k, top_p=top_p, **drawing):
        show(int(token.item()))
    sys.stdout.write("\n")
    sys.stdout.flush()


def _writer(tokenizer: Any) -> Any:
    """A function that prints one token; bytes are held back until they make a character."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def show(token: int) -> None:
        sys.stdout.write(decoder.decode(bytes([token])) if tokenizer.level == "byte" else tokenizer.decode([token]))
        sys.stdout.flush()

    return show
