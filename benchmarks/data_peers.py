"""One tool over one file of texts: ``python data_peers.py TOOL texts.jsonl``; prints JSON.

Runs in an environment that has the tool, and imports nothing of burnish unless the tool is burnish.
The answer: seconds by the clock and of CPU without imports and reading, peak MiB, removed indices.
"""

import json
import re
import resource
import sys
import time

BANDS, ROWS, NGRAM, THRESHOLD = 14, 8, 5, 0.7
WORD = re.compile(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+")


def grams(text):
    """The word 5-grams of a text, a Chinese character being a word."""
    said = WORD.findall(text.casefold())
    return {" ".join(said[i : i + NGRAM]) for i in range(max(1, len(said) - NGRAM + 1))}


def burnish(texts):
    """In memory and in one process, as selection/dedup.py does it."""
    from burnish.selection.dedup import near_duplicates

    def run():
        kept = set(near_duplicates(texts).kept)
        return [index for index in range(len(texts)) if index not in kept]

    return run


def datasketch(texts):
    """MinHashLSH with the same bands, a text goes when it meets an earlier one in any of them."""
    from datasketch import MinHash, MinHashLSH

    def run():
        lsh = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
        hashes = MinHash.generator(
            ([gram.encode() for gram in grams(text)] for text in texts), num_perm=BANDS * ROWS
        )
        return meet(lsh, hashes)

    return run


def meet(lsh, hashes):
    """Indices of texts that meet an earlier one that stayed."""
    removed = []
    for index, one in enumerate(hashes):
        if lsh.query(one):
            removed.append(index)
        else:
            lsh.insert(index, one)
    return removed


def rensa(texts):
    """R-MinHash in Rust, bands as above; similarity is estimated from the signatures."""
    from rensa import RMinHash, RMinHashLSH

    def run():
        lsh = RMinHashLSH(threshold=THRESHOLD, num_perm=BANDS * ROWS, num_bands=BANDS)
        removed = []
        for index, text in enumerate(texts):
            one = RMinHash(num_perm=BANDS * ROWS, seed=0)
            one.update(list(grams(text)))
            if any(True for _ in lsh.query(one)):
                removed.append(index)
            else:
                lsh.insert(index, one)
        return removed

    return run


def distilabel(texts):
    """The step MinHashDedup with its n-grams of 5 characters (its words need an nltk download)."""
    from distilabel.steps import MinHashDedup

    step = MinHashDedup(tokenizer="ngrams", n=5, threshold=THRESHOLD, num_perm=BANDS * ROWS)
    step.load()

    def run():
        rows = [{"text": text} for text in texts]
        kept = next(step.process(rows))
        return [i for i, row in enumerate(kept) if not row["keep_row_after_minhash_filtering"]]

    return run


def semhash(texts):
    """With a stand-in for its static embeddings, which need a download: means of random vectors."""
    import numpy
    from semhash import SemHash

    class Encoder:
        def __init__(self):
            self.vectors = {}
            self.draw = numpy.random.default_rng(0)

        def vector(self, word):
            if word not in self.vectors:
                self.vectors[word] = self.draw.standard_normal(256, dtype=numpy.float32)
            return self.vectors[word]

        def encode(self, inputs, **_kwargs):
            return numpy.stack(
                [
                    numpy.mean(
                        [self.vector(word) for word in WORD.findall(text.casefold())], axis=0
                    )
                    for text in inputs
                ]
            )

    def run():
        numbers = {text: index for index, text in enumerate(texts)}
        found = SemHash.from_records(records=texts, model=Encoder()).self_deduplicate()
        kept = {numbers[text] for text in found.selected}
        return [index for index in range(len(texts)) if index not in kept]

    return run


def main():
    """Measure, print."""
    name, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        texts = [json.loads(line) for line in file]
    run = {f.__name__: f for f in (burnish, datasketch, rensa, distilabel, semhash)}[name](texts)
    clock, cpu = time.monotonic(), time.process_time()
    removed = run()
    found = {
        "seconds": time.monotonic() - clock,
        "cpu": time.process_time() - cpu,
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "removed": removed,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
