"""Networks, one file each."""

from .alexnet import AlexNet, alexnet
from .bert import BERT, bert, load_bert
from .clip import CLIP, clip, load_clip
from .denoising_unet import DenoisingUNet, denoising_unet
from .dqn import DQN, dqn
from .generation import filtered, sample
from .gpt import GPT, FixedKVCache, KVCache, gpt, load_gpt2
from .lenet import LeNet, lenet
from .llama import Llama, llama, llama_from_gguf, load_llama
from .mlp import MLP, mlp
from .positional import sinusoidal_encoding
from .resnet import ResNet, SmallResNet, resnet18, resnet20, resnet34, resnet50
from .ssd import SSD, nms, ssd
from .transformer import TransformerSeq2Seq, transformer
from .unet import UNet, unet
from .vgg import VGG, vgg
from .vit import VisionTransformer, vit
from .whisper import Whisper, load_whisper, whisper

__all__ = [
    "BERT", "CLIP", "DQN", "GPT", "MLP", "SSD", "VGG", "AlexNet", "DenoisingUNet", "FixedKVCache", "KVCache", "LeNet",
    "Llama", "ResNet", "SmallResNet", "TransformerSeq2Seq", "UNet", "VisionTransformer", "Whisper", "alexnet", "bert",
    "clip", "denoising_unet", "dqn", "filtered", "gpt", "lenet", "llama", "llama_from_gguf", "load_bert", "load_clip",
    "load_gpt2", "load_llama", "load_whisper", "mlp", "nms", "resnet18", "resnet20", "resnet34", "resnet50", "sample",
    "sinusoidal_encoding", "ssd", "transformer", "unet", "vgg", "vit", "whisper",
]  # fmt: skip
