"""Language models of Hugging Face's with random weights, saved and loaded by name: the same logits."""

import warnings

import numpy as np
import pytest
from safetensors.numpy import load_file

import littlecore as lc
from littlecore import data, models

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)
WITHIN = 1e-4
TOKENS = np.random.default_rng(0).integers(0, 60, (3, 14))


def saved(model, folder):
    """Its weights as NumPy arrays, by way of the file that others load."""
    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def close(got, wanted):
    got, wanted = got.numpy(), wanted.numpy()
    assert np.abs(wanted).max() > 0.5 and got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= WITHIN, f"differ by {np.abs(got - wanted).max():.1e}"


def test_gpt2(tmp_path):
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=60, n_positions=20, n_embd=32, n_layer=3, n_head=4, initializer_range=0.3, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    theirs = transformers.GPT2LMHeadModel(config).eval()
    ours = models.gpt(vocab_size=60, block_size=20, n_layer=3, n_head=4, n_embd=32)
    models.load_gpt2(ours, saved(theirs, tmp_path))
    with torch.no_grad(), lc.no_grad():
        close(ours(lc.from_numpy(TOKENS)), theirs(torch.from_numpy(TOKENS)).logits)


def llama(**options):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=60, hidden_size=32, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=20, rms_norm_eps=1e-5, initializer_range=0.3, bos_token_id=0, eos_token_id=0,
        pad_token_id=0, **options,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


SMALL = {"vocab_size": 60, "block_size": 20, "width": 32, "layers": 3, "heads": 4, "hidden": 80}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"num_key_value_heads": 2}, {"kv_heads": 2}),
        ({"num_key_value_heads": 1, "tie_word_embeddings": True}, {"kv_heads": 1, "tie": True}),
        ({"num_key_value_heads": 4, "head_dim": 16}, {"head_dim": 16}),
        ({"num_key_value_heads": 4, "rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}, {"theta": 100}),
    ],
    ids=["groups", "one_kv_head_tied", "wide_heads", "theta"],
)
def test_llama(theirs, ours, tmp_path):
    theirs, ours = llama(**theirs), models.llama(**SMALL, **ours)
    models.load_llama(ours, saved(theirs, tmp_path))
    with torch.no_grad(), lc.no_grad():
        close(ours(lc.from_numpy(TOKENS)), theirs(torch.from_numpy(TOKENS)).logits)


def test_bert(tmp_path):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80,
        max_position_embeddings=20, initializer_range=0.3,
    )  # fmt: skip
    theirs = transformers.BertModel(config).eval()
    ours = models.bert(vocab_size=60, length=20, width=32, layers=3, heads=4, hidden=80)
    state = saved(theirs, tmp_path)
    models.load_bert(ours, state)
    mask = np.arange(14) < np.array([[14], [9], [1]])
    parts = (np.arange(14) >= 5).astype(np.int64) * np.ones((3, 1), np.int64)
    with torch.no_grad(), lc.no_grad():
        wanted = theirs(*(torch.from_numpy(x) for x in (TOKENS, mask.astype(np.int64), parts)))
        got = ours(*(lc.from_numpy(x) for x in (TOKENS, mask, parts)))
        for k in range(3):
            close(got[0][k, : mask[k].sum()], wanted.last_hidden_state[k, : mask[k].sum()])
        close(got[1], wanted.pooler_output)
        close(ours(lc.from_numpy(TOKENS))[0], theirs(torch.from_numpy(TOKENS)).last_hidden_state)
    old = {f"bert.{k}".replace("LayerNorm.weight", "LayerNorm.gamma"): v for k, v in state.items() if "pooler" not in k}
    models.load_bert(ours, old | {"cls.predictions.bias": np.zeros(60, np.float32)})


# ---- GGUF ------------------------------------------------------------------------------------------------------------


def interleaved(weight, heads):
    """Rows as llama.cpp has them: pairs of a rotation side by side, where Hugging Face has them half a head apart."""
    dim = len(weight) // heads
    order = [h * dim + i % 2 * (dim // 2) + i // 2 for h in range(heads) for i in range(dim)]
    return weight[order]


NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


def write_gguf(path, state, kind=None, **changed):
    """The file that llama.cpp's own package makes of a small Llama with two heads for keys and values."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, changed.pop("architecture", "llama"))
    writer.add_context_length(20)
    writer.add_embedding_length(32)
    writer.add_block_count(3)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(changed.pop("kv_heads", 2))
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    for key, value in changed.items():
        writer.add_string(f"llama.{key.replace('_', '.')}", value)
    for key, value in state.items():
        name = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
                "lm_head.weight": "output.weight"}.get(key)  # fmt: skip
        if name is None:
            _, _, number, part = key.removesuffix(".weight").split(".", 3)
            name = f"blk.{number}.{NAMES[part]}.weight"
            heads = {"attn_q": 4, "attn_k": 2}.get(NAMES[part])
            value = value if heads is None else interleaved(value, heads)
        if kind is not None and value.ndim == 2:
            blocks = data.quantize_blocks(value, kind)
            writer.add_tensor(name, blocks, raw_dtype=getattr(gguf.GGMLQuantizationType, kind))
        else:
            writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def theirs():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=20, rms_norm_eps=1e-5, initializer_range=0.3, bos_token_id=0,
        eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("kind", [None, "Q8_0", "Q4_0", "Q4_1"])
def test_llama_from_gguf(kind, theirs, tmp_path):
    state = saved(theirs, tmp_path)
    ours = models.llama_from_gguf(write_gguf(tmp_path / "model.gguf", state, kind))
    if kind is not None:
        rounded = {k: data.dequantize_blocks(data.quantize_blocks(v, kind), kind) if v.ndim == 2 else v
                   for k, v in state.items()}  # fmt: skip
        theirs.load_state_dict({k: torch.from_numpy(v) for k, v in rounded.items()})
    with torch.no_grad(), lc.no_grad():
        close(ours(lc.from_numpy(TOKENS)), theirs(torch.from_numpy(TOKENS)).logits)


def test_what_is_no_llama_is_refused(theirs, tmp_path):
    state, path = saved(theirs, tmp_path), tmp_path / "model.gguf"
    with pytest.raises(data.DataError, match=r"model.gguf: general.architecture is 'gemma', wanted 'llama'"):
        models.llama_from_gguf(write_gguf(path, state, architecture="gemma"))
    with pytest.raises(data.DataError, match=r"llama.rope.scaling.type is 'yarn', wanted 'none'"):
        models.llama_from_gguf(write_gguf(path, state, rope_scaling_type="yarn"))
    with pytest.raises(data.DataError, match=r"there is no tensor 'token_embd.weight'"):
        models.llama_from_gguf(write_gguf(path, {}))
    state.pop("model.norm.weight")
    with pytest.raises(RuntimeError, match=r'Missing key.*"model.norm.weight"'):
        models.llama_from_gguf(write_gguf(path, state))
