"""CLIP and SigLIP small enough for tests, in the folder layout of the Hugging Face hub."""

import json
from pathlib import Path

WORDS = "a and with the digit one two three four five six seven eight nine zero red of is".split()
LENGTH = 12  # tokens of a text, at the most


def write(folder: Path, kind: str) -> Path:
    """Writes a random model of two layers × 16 on either side, and a tokenizer; returns ``folder``.

    Args:
        kind: ``clip``, whose texts have a token of beginning and one of end; or ``siglip``, whose
            texts end with the token that fills them up.
    """
    import torch
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = ["<end>", "<unk>", "<begin>"]
    numbers = {word: number for number, word in enumerate([*WORDS, *special])}
    end, begin = numbers["<end>"], numbers["<begin>"]
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    template = "<begin> $A <end>" if kind == "clip" else "$A <end>"
    tokens = [("<begin>", begin), ("<end>", end)]
    tokenizer.post_processor = processors.TemplateProcessing(template, special_tokens=tokens)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    # SigLIP's own class needs SentencePiece, as which no tokenizer here can be written.
    name = "SiglipTokenizer" if kind == "siglip" else "PreTrainedTokenizerFast"
    about = {"tokenizer_class": name, "pad_token": "<end>", "eos_token": "<end>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about), "utf-8")
    layers = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    text = layers | {"vocab_size": len(numbers), "max_position_embeddings": LENGTH}
    text |= {"bos_token_id": begin, "eos_token_id": end, "projection_dim": 10}
    vision = layers | {"image_size": 16, "patch_size": 8}
    made, config = {
        "clip": (transformers.CLIPModel, transformers.CLIPConfig),
        "siglip": (transformers.SiglipModel, transformers.SiglipConfig),
    }[kind]
    more = {"projection_dim": 10} if kind == "clip" else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = made(config(text_config=text, vision_config=vision, **more))
        model.save_pretrained(folder)
    return folder
