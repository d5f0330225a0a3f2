"""Which WordNet node each label of a well-known data set means, one JSON a data set.

A file is a `kfr.mapping.LabelMapping`: a label and its node a line, in the order of the
data set's class indices, and under `why` a sentence wherever the node is not the first
sense that WordNet has for the label. A new file needs only to lie here; copy one,
look the senses up, and let `tests/test_bundled_mappings.py` check it.

CIFAR-10, CIFAR-100 and Fashion-MNIST spell their labels as the data sets do. The
ImageNet family names its classes by wnid, so there a label is its own node:
imagenet1k in ILSVRC's order, which is sorted; tiny-imagenet sorted, as ImageFolder
reads it, and not as in `wnids.txt`; mini-imagenet sorted over the union of Ravi's
train, val and test classes.
"""
