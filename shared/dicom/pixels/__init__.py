"""The pixels of an image: decoding, transcoding and rendering, one frame at a time."""
