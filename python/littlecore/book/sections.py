"""The book's table of contents, and the programs that show each section."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A numbered section; `programs` are modules of littlecore.book, in the order in which they are best read."""

    number: str
    title: str
    programs: tuple[str, ...] = ()

    @property
    def chapter(self) -> str:
        return self.number.partition(".")[0]


CHAPTERS = {
    "1": "Machine Learning",
    "2": "Efficient Computation",
    "3": "Training",
    "4": "Model Components",
    "5": "Architectures",
    "6": "Prediction",
    "7": "Synthesis",
    "8": "The Compute Schism",
    "bits": "The Missing Bits",
}

SECTIONS = (
    Section("1.1", "Learning from data", ("categories_of_models",)),
    Section("1.2", "Basis function regression", ("basis_function_regression",)),
    Section("1.3", "Under and overfitting", ("under_and_overfitting",)),
    Section("1.4", "Categories of models", ("categories_of_models",)),
    Section("2.1", "GPUs, TPUs, and batches", ("batches_and_roofline",)),
    Section("2.2", "Tensors", ("tensors_as_views",)),
    Section("3.1", "Losses", ("losses",)),
    Section("3.2", "Autoregressive models", ("causal_models", "byte_pair_encoding")),
    Section("3.3", "Gradient descent", ("gradient_descent",)),
    Section("3.4", "Backpropagation", ("backpropagation",)),
    Section("3.5", "The value of depth", ("value_of_depth",)),
    Section("3.6", "Training protocols", ("training_protocols",)),
    Section("3.7", "The benefits of scale", ("scaling_laws",)),
    Section("4.1", "The notion of layer", ("notion_of_layer",)),
    Section("4.2", "Linear layers", ("linear_layers",)),
    Section("4.3", "Activation functions", ("activation_functions",)),
    Section("4.4", "Pooling", ("pooling",)),
    Section("4.5", "Dropout", ("dropout",)),
    Section("4.6", "Normalizing layers", ("normalizing_layers",)),
    Section("4.7", "Skip connections", ("skip_connections",)),
    Section("4.8", "Attention layers", ("attention_layers",)),
    Section("4.9", "Token embedding", ("token_embedding",)),
    Section("4.10", "Positional encoding", ("positional_encoding",)),
    Section("5.1", "Multi-layer perceptrons", ("multi_layer_perceptrons",)),
    Section("5.2", "Convolutional networks", ("convolutional_networks",)),
    Section("5.3", "Attention models", ("transformer", "gpt", "algorithmic_tasks", "vision_transformer")),
    Section("6.1", "Image denoising", ("image_denoising",)),
    Section("6.2", "Image classification", ("image_classification",)),
    Section("6.3", "Object detection", ("object_detection",)),
    Section("6.4", "Semantic segmentation", ("semantic_segmentation",)),
    Section("6.5", "Speech recognition", ("speech_recognition",)),
    Section("6.6", "Text-image representations", ("text_image_representations",)),
    Section("6.7", "Reinforcement learning", ("reinforcement_learning", "breakout", "atari")),
    Section("7.1", "Text generation", ("text_generation", "human_feedback")),
    Section("7.2", "Image generation", ("image_generation",)),
    Section("8.1", "Prompt engineering", ("chain_of_thought", "retrieval")),
    Section("8.2", "Quantization", ("quantization",)),
    Section("8.3", "Adapters", ("adapters",)),
    Section("8.4", "Model merging", ("model_merging",)),
    Section("bits.1", "Recurrent neural networks", ("recurrent_networks",)),
    Section("bits.2", "Autoencoders", ("autoencoders",)),
    Section("bits.3", "Generative adversarial networks", ("generative_adversarial_networks",)),
    Section("bits.4", "Graph neural networks", ("graph_neural_networks",)),
    Section("bits.5", "Self-supervised training", ("self_supervised_training",)),
)


def programs(sections: tuple[Section, ...] = SECTIONS) -> dict[str, Section]:
    """Every program of `sections` once, with the first section that it shows."""
    found: dict[str, Section] = {}
    for section in sections:
        for program in section.programs:
            found.setdefault(program, section)
    return found


def chosen(what: str) -> dict[str, Section]:
    """The programs of "all", of a chapter such as "3", of a section such as "3.2", or one by its name; in order."""
    every = programs()
    if what in every:
        return {what: every[what]}
    sections = tuple(s for s in SECTIONS if what in ("all", s.chapter, s.number))
    if not sections:
        raise ValueError(
            f"there is no section {what!r}: give a number such as 1.2, a chapter such as 3, a program such as "
            "quantization, or all (littlecore book list shows them)"
        )
    if not (found := programs(sections)):
        raise ValueError(f"{what} has no program yet (littlecore book list shows which sections have one)")
    return found
