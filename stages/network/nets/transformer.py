"""Pretrained transformers as caption encoders, each with its own tokenizer.

They come from the library ``transformers``: by a name on the Hugging Face hub or from a folder.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import torch
from torch import nn

from stages import UserError
from stages.network.tokens import PADDING

if TYPE_CHECKING:
    import tokenizers

HUB_ANSWERS = 10.0  # seconds
# Models of pairs of photos and texts, and the class of the library that is the half for texts.
TEXT_HALVES = {
    "clip": "CLIPTextModelWithProjection",
    "siglip": "SiglipTextModel",
    "siglip2": "Siglip2TextModel",
}
ABOVE_LAYERS = ("final_layer_norm", "text_projection", "head")  # what those call it


class TransformerEncoder(nn.Module):
    """The mean of a transformer's last states over a caption's tokens.

    Args:
        model: of the library, whose forward pass gives ``last_hidden_state``.
        config: the model's configuration, an object of the library.

    Attributes:
        max_tokens: how many it can take; None: not known.
    """

    max_tokens: int | None = None

    def __init__(self, model: nn.Module, config: Any) -> None:
        super().__init__()
        self.model, self._config = model, config
        self.features: int = config.hidden_size

    def layers(self) -> nn.ModuleList:
        """The model's layers, from the tokens to the states: its longest list of modules."""
        stacks = (module for module in self.model.modules() if isinstance(module, nn.ModuleList))
        return max(stacks, key=len)

    def freeze(self, count: int) -> None:
        """Keeps the ``count`` lowest layers, and what comes before them, as they are."""
        layers = self.layers()
        if count > len(layers):
            raise UserError(
                f"train.text.frozen_layers is {count}, but the transformer has {len(layers)} layers"
            )
        self.model.requires_grad_(False)
        layers[count:].requires_grad_(True)

    def forward(self, words: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """int64 (n, tokens), as from ``Tokens``, and their lengths (n,) → (n, features)."""
        mask = words != PADDING
        mask[:, 0] = True  # of nothing at all there would be no mean
        answer = self.model(input_ids=(words - 1).clamp(min=0), attention_mask=mask)
        states: torch.Tensor = answer.last_hidden_state
        weights = mask[:, :, None].to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1)

    def save(self, folder: Path) -> None:
        """Writes the configuration, without the weights."""
        self._config.to_json_file(str(folder / "config.json"))


class PairedTextEncoder(TransformerEncoder):
    """The half for texts of a model that was trained on photos and their texts, pooled as there.

    CLIP (Radford et al. 2021): the state of the token that ends the text, projected. SigLIP (Zhai
    et al. 2023): texts are filled up to the full length, and the state of the last token counts,
    be it padding.
    """

    def __init__(self, model: nn.Module, config: Any) -> None:
        super().__init__(model, config)
        config.architectures = [type(model).__name__]  # tells ``rebuilt`` what to make
        self._is_clip = config.architectures == [TEXT_HALVES["clip"]]
        self.features = config.projection_dim if self._is_clip else config.projection_size
        self.max_tokens = config.max_position_embeddings

    def freeze(self, count: int) -> None:
        super().freeze(count)
        for name, module in self.model.named_modules():
            if name.rpartition(".")[2] in ABOVE_LAYERS:
                module.requires_grad_(True)

    def forward(self, words: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """int64 (n, tokens), as from ``Tokens``, and their lengths (n,) → (n, features)."""
        padding = self._config.pad_token_id
        numbers = torch.where(words == PADDING, padding, words - 1)
        if self._is_clip:  # it looks back only, and so never at what follows the end
            projected: torch.Tensor = self.model(input_ids=numbers).text_embeds
            return projected
        length = self._config.max_position_embeddings
        filling = numbers.new_full((numbers.shape[0], length), padding)
        filled = torch.cat([numbers, filling], dim=1)[:, :length]
        pooled: torch.Tensor = self.model(input_ids=filled).pooler_output
        return pooled


def pretrained(source: str) -> tuple[TransformerEncoder, "tokenizers.Tokenizer"]:
    """A pretrained encoder and its tokenizer.

    Args:
        source: a folder with ``config.json``, weights and tokenizer, or a name on the hub. Of CLIP
            and SigLIP, the half for texts is taken.

    Raises:
        UserError: ``transformers`` is not installed, or there is no such encoder to be had.
    """
    library = _library()
    from huggingface_hub import constants

    try:
        try:
            tokenizer, model = _load(library, source, local_files_only=True)
        except OSError:
            if Path(source).exists():
                raise
            # Not kept here. The library itself would try an unreachable hub for most of a minute.
            with urlopen(constants.ENDPOINT, timeout=HUB_ANSWERS):
                pass
            tokenizer, model = _load(library, source)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"train.text.transformer {source} cannot be had: it is no folder with config.json, "
            "weights and tokenizer, and the hub does not give it "
            f"({str(error).strip().splitlines()[0]}). Download it where the network allows and "
            "name its folder"
        ) from error
    encoder = _encoder(model)
    if isinstance(encoder, PairedTextEncoder) and tokenizer.pad_token_id is not None:
        model.config.pad_token_id = tokenizer.pad_token_id  # what texts are filled up with
    return encoder, tokenizer.backend_tokenizer


def _load(library: ModuleType, source: str, **options: bool) -> tuple[Any, Any]:
    config = library.AutoConfig.from_pretrained(source, **options)
    maker = getattr(library, _half(config) or "AutoModel")
    model = maker.from_pretrained(source, dtype=torch.float32, **options)
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(source, **options)
        if tokenizer.is_fast:
            return tokenizer, model
    except ImportError:  # of a library for tokenizers that are not fast
        pass
    return library.PreTrainedTokenizerFast.from_pretrained(source, **options), model


def _half(config: Any) -> str | None:
    """The class that is the half for texts of a model of pairs; None: the model is no such."""
    named = [name for name in config.architectures or () if name in TEXT_HALVES.values()]
    return TEXT_HALVES.get(config.model_type) or next(iter(named), None)


def rebuilt(folder: Path) -> TransformerEncoder:
    """The encoder, without its weights, as ``save`` left its configuration in ``folder``.

    Raises:
        UserError: ``config.json`` is of no model that the library itself has.
    """
    library = _library()
    # Never code that comes with a configuration, nor a question whether to run it.
    safe = {"trust_remote_code": False}
    try:
        config = library.AutoConfig.from_pretrained(folder, local_files_only=True, **safe)
        if (half := _half(config)) is not None:
            model = getattr(library, half)(config)
        else:
            model = library.AutoModel.from_config(config, dtype=torch.float32, **safe)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{folder / 'config.json'} describes no transformer that the library transformers "
            f"has: {str(error).strip().splitlines()[0]}"
        ) from error
    return _encoder(model)


def _library() -> ModuleType:
    try:
        library = import_module("transformers")
    except ImportError as error:
        raise UserError(
            "train.text.encoder transformer needs the library transformers: "
            "pip install 'tagloom[transformers]'"
        ) from error
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()
    return library


def _encoder(model: Any) -> TransformerEncoder:
    if type(model).__name__ in TEXT_HALVES.values():
        return PairedTextEncoder(model, model.config)
    # BERT's layer over the first token was made for another task, and is not looked at here.
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return TransformerEncoder(model, model.config)
