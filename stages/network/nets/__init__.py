"""What networks are made of: backbones for photos, an encoder for captions, their classifier."""
