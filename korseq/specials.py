"""The four symbols that stand before the tokens of every vocabulary, and their ids."""

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>")
