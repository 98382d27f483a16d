"""Which words speak for a label: those without which its logit is lower."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from stages.explain import word_effects
from stages.ingest.images import ImageStore
from stages.network.description import Description
from stages.network.nets import backbones, transformer
from stages.network.nets.classifier import Classifier
from stages.network.nets.fusion import Concat
from stages.network.network import new_network
from stages.network.tokens import Tokens
from stages.vocab import vocabulary
from stages.words import words_of
from tests import factories
from tests.network import tiny_bert

KNOWN = ["dog", "cat", "red", "house"]


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    """Four photos of noise."""
    photos = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    np.save(tmp_path / "00000.npy", photos)
    return ImageStore(tmp_path)


def spotting(inputs: str) -> tuple[Classifier, Description, vocabulary.Vocabulary]:
    """Label 0 is raised by 3 for "dog"; label 1 by 2 for "cat" and lowered by 1 for "dog"."""
    described = factories.description(inputs, labels=2, words=KNOWN)
    spotter = factories.Spotter(2)
    backbone, image = backbones.build("small_cnn", 64) if described.sees_images else (None, 0)
    head = Concat(nn.Linear(image + 2, 2), 0.0, nn.Identity())
    head.head.weight.data[:, image:] = torch.tensor([[3.0, 0], [-1, 2]])
    network = Classifier(backbone, nn.Identity(), spotter, head)
    return network.eval(), described, vocabulary.from_json(described.vocabulary)


@pytest.mark.parametrize(
    ("caption", "word", "left"),
    [
        ("A dog, and a Dog.", "dog", "A , and a ."),
        ("The man's dog", "man", "The 's dog"),
        ("dogs and a dog", "dog", "dogs and a"),
        ("Two İstanbul cats 2", "two", "İstanbul cats 2"),
        ("Two İstanbul cats 2", "i\u0307stanbul", "Two cats 2"),
        ("एक लड़की, एक किताब", "एक", "लड़की, किताब"),
        ("एक लड़की, एक किताब", "लड़की", "एक , एक किताब"),
        ("كَتَبَ الوَلَدُ", "كَتَبَ", "الوَلَدُ"),
        ("Das Ma\u0308dchen", "ma\u0308dchen", "Das"),
    ],
)
def test_a_word_is_left_out_wherever_it_stands(caption: str, word: str, left: str):
    assert word_effects.without(caption, word) == left
    assert word in {found.text for found in words_of(caption)}
    assert word not in {found.text for found in words_of(left)}


def test_each_word_once_in_order():
    variants = word_effects.leave_out(["Dog and dog", None, "", "a cat"])
    assert variants.rows() == [
        (0, "dog", "and"), (0, "and", "Dog dog"), (3, "a", "cat"), (3, "cat", "a"),
    ]  # fmt: skip


@pytest.mark.parametrize("inputs", ["caption", "image+caption"])
def test_the_words_a_network_looks_for_are_found(store: ImageStore, inputs: str):
    network, described, words = spotting(inputs)
    photos = factories.records(["The red dog", None, "a cat and a dog", "unheard of house"])
    table, effects = word_effects.effects(network, described, photos, store, words)
    # "the", "a" and the like are stop words: the network is never shown them.
    assert table.rows() == [
        (0, "red"), (0, "dog"), (2, "cat"), (2, "dog"), (3, "unheard"), (3, "house"),
    ]  # fmt: skip
    expected = [[0, 0], [3, -1], [0, 2], [3, -1], [0, 0], [0, 0]]
    assert np.allclose(effects, expected, atol=1e-5)
    assert effects.dtype == np.float32


@pytest.mark.parametrize("word", ["कुत्ता", "كَلبٌ", "Hu\u0308ndchen"])
def test_words_with_marks_have_their_effect(store: ImageStore, word: str):
    network, described, _ = spotting("caption")
    words = vocabulary.from_json(described.vocabulary | {"words": [word.lower(), "cat"]})
    photos = factories.records([f"{word}, cat"])
    table, effects = word_effects.effects(network, described, photos, store, words)
    assert table.rows() == [(0, word.lower()), (0, "cat")]
    assert np.allclose(effects, [[3, -1], [0, 2]], atol=1e-5)


def test_without_a_caption_no_word_has_an_effect(store: ImageStore):
    network, described, words = spotting("image+caption")
    table, effects = word_effects.effects(
        network, described, factories.records([None, None]), store, words
    )
    assert table.is_empty()
    assert effects.shape == (0, 2)
    assert word_effects.strongest(table, effects, ["x", "y"], 1, 5).is_empty()


def test_a_transformer_reads_the_text_with_its_own_tokenizer(store: ImageStore, tmp_path: Path):
    folder = tiny_bert.write(tmp_path / "bert")
    text = factories.TEXT | {"encoder": "transformer", "transformer": str(folder)}
    described = factories.description("caption", labels=2, text=text)
    network, words = new_network(described)
    assert isinstance(words, Tokens)
    network.eval()
    photos = factories.records(["the red one", "two of three", "one"])
    table, effects = word_effects.effects(network, described, photos, store, words)
    assert table["word"].to_list() == ["the", "red", "one", "two", "of", "three", "one"]
    assert (np.abs(effects) > 1e-6).all()
    # Told apart from another way: the logits of the two texts.
    encoder, tokenizer = network.captions, transformer.pretrained(str(folder))[1]
    rows = torch.from_numpy(Tokens(tokenizer, 12).encode(["the red one", "the one"]))
    with torch.inference_mode():
        features = [
            encoder(row[None, :n], torch.tensor([n])) for row, n in zip(rows, (5, 4), strict=True)
        ]
        whole, left = network.fusion.head(torch.cat(features))
    assert np.allclose(effects[1], (whole - left).numpy(), atol=1e-5)


def test_strongest_are_means_over_captions():
    words = ["dog", "dog", "cat", "red", "red", "ant"]
    table = pl.DataFrame({"row": range(6), "word": words})
    effects = np.array([[2, -1], [1, -1], [9, 1], [1, 0], [2, 0], [1.5, 0]], np.float32)
    words = word_effects.strongest(table, effects, ["row", "word"], least_captions=2, most=5)
    assert words.rows() == [("row", "dog", 2, 1.5), ("row", "red", 2, 1.5)]
    words = word_effects.strongest(table, effects, ["row", "word"], least_captions=1, most=2)
    assert words.rows() == [
        ("row", "cat", 1, 9.0), ("row", "ant", 1, 1.5),
        ("word", "cat", 1, 1.0),
    ]  # fmt: skip
