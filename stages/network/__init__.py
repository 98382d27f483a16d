"""network: what answers, from a photo and its caption to logits. No stage: ``train`` fills it."""
