"""Where is-a graphs come from: one plug-in a module, and the data that ships with kfr.

`wordnet.npz` holds the nouns of WordNet 3.0, `senses.npz` how usual each meaning of a
word is; `WORDNET-LICENSE.txt` is their licence. `tools/bundle_wordnet.py` makes all.
"""
